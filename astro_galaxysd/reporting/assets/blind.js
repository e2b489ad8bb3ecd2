// Probability of at least k of n right if each is right with probability p.
function atLeast(k, n, p) {
  if (k <= 0 || p >= 1) return 1;
  if (p <= 0) return 0;
  let sum = 0;
  let logChoose = 0;
  for (let i = 0; i <= n; i += 1) {
    if (i > 0) logChoose += Math.log(n - i + 1) - Math.log(i);
    if (i >= k) sum += Math.exp(logChoose + i * Math.log(p) + (n - i) * Math.log1p(-p));
  }
  return Math.min(sum, 1);
}

// Exact 95 % interval of a binomial share (Clopper & Pearson 1934).
function interval(k, n) {
  const solve = (below) => {
    let [low, high] = [0, 1];
    for (let i = 0; i < 60; i += 1) {
      const middle = (low + high) / 2;
      if (below(middle)) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  };
  const low = k === 0 ? 0 : solve((p) => atLeast(k, n, p) < 0.025);
  const high = k === n ? 1 : solve((p) => 1 - atLeast(k + 1, n, p) > 0.025);
  return [low, high];
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function showScore() {
  const truth = hidden();
  const right = state.answers.filter((value, i) => value === truth[i][1]).length;
  if (given() === 0) element("score").textContent = "Nothing was answered yet.";
  else {
    const [low, high] = interval(right, given());
    const meaning = low > 0.5 ? "above" : high < 0.5 ? "below" : "compatible with";
    element("score").textContent = `${right} of ${given()} right, ${percent(right / given())}; 95 % interval `
      + `${percent(low)} to ${percent(high)}, ${meaning} the 50 % of guessing.`;
  }
  element("confusion").replaceChildren(...["real", "synthetic"].map((kind) => confusionRow(truth, kind)));
  element("resume").hidden = given() === ITEMS;
  element("gallery").replaceChildren(...truth.map((told, i) => judged(told, state.answers[i], i)));
}

function confusionRow(truth, kind) {
  const row = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = `${kind} images`;
  row.append(name);
  for (const said of ["real", "synthetic", null]) {
    const cell = document.createElement("td");
    cell.textContent = state.answers.filter((value, i) => truth[i][1] === kind && value === said).length;
    row.append(cell);
  }
  return row;
}

function judged([id, kind], said, i) {
  const answered = said === null ? ", no answer" : `, you said ${said}`;
  const figure = pictured(i, `Image ${i + 1}, ${kind}`, `${i + 1}: ${kind}${answered} (${id})`);
  if (said !== null && said !== kind) figure.className = "wrong";
  return figure;
}

function exported() {
  const truth = hidden();
  const rows = state.answers.map((said, i) => {
    const seconds = said === null ? "" : state.seconds[i].toFixed(2);
    return [i + 1, truth[i][0], truth[i][1], said, seconds];
  });
  return table([["number", "id", "truth", "answer", "seconds"], ...rows]);
}

start("answers.csv");
