const CHOICES = [["yes", "Yes"], ["no", "No"], ["unsure", "Can't tell"]];

function showScore() {
  element("gallery").replaceChildren(...hidden().map(vetted));
  count();
}

function count() {
  for (const [value] of CHOICES)
    element(`count-${value}`).textContent = state.answers.filter((said) => said === value).length;
  element("count-none").textContent = ITEMS - given();
  element("score").textContent = `${given()} of ${ITEMS} candidates answered.`;
  element("resume").hidden = given() === ITEMS;
}

function vetted(id, i) {
  const figure = pictured(i, `Image ${i + 1}`, `${i + 1}: ${id}`);
  const choices = document.createElement("div");
  choices.className = "choices";
  choices.setAttribute("role", "group");
  choices.setAttribute("aria-label", `Answer to image ${i + 1}`);
  choices.append(...CHOICES.map(([value, label]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.answer = value;
    button.textContent = label;
    button.addEventListener("click", () => {
      state.answers[i] = value;
      keep();
      mark(figure, value);
      count();
    });
    return button;
  }));
  figure.append(choices);
  mark(figure, state.answers[i]);
  return figure;
}

function mark(figure, said) {
  figure.dataset.said = said ?? "none";
  press(figure.querySelectorAll("button"), said);
}

function exported() {
  const rows = hidden().map((id, i) => [id, state.answers[i], state.seconds[i].toFixed(2)]);
  return table([["id", "answer", "seconds"], ...rows.filter((row) => row[1] !== null)]);
}

start("vetting.csv");
