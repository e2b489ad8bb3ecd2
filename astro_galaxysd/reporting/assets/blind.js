"use strict";
const element = (id) => document.getElementById(id);
const ITEMS = DATA.images.length;
const fresh = () => ({ at: 0, answers: Array(ITEMS).fill(null), seconds: Array(ITEMS).fill(0), finished: false });
let stored = true;
let state = recalled();
let shownAt = performance.now();

// What is where is not legible in the page's source at a glance; it is read when answers are scored.
const truths = () => JSON.parse(atob(DATA.key));

function recalled() {
  try {
    const found = JSON.parse(localStorage.getItem(DATA.name));
    const whole = found && Array.isArray(found.answers) && found.answers.length === ITEMS
      && Array.isArray(found.seconds) && found.seconds.length === ITEMS
      && Number.isInteger(found.at) && found.at >= 0 && found.at < ITEMS;
    return whole ? found : fresh();
  } catch (error) {
    stored = false;
    return fresh();
  }
}

function keep() {
  try {
    localStorage.setItem(DATA.name, JSON.stringify(state));
    stored = true;
  } catch (error) {
    stored = false;
  }
}

function spend() {
  const now = performance.now();
  state.seconds[state.at] += Math.max(0, (now - shownAt) / 1000);
  shownAt = now;
}

function answer(value) {
  if (state.finished) return;
  spend();
  state.answers[state.at] = value;
  const open = state.answers.indexOf(null, state.at + 1);
  const earlier = state.answers.indexOf(null);
  if (earlier < 0) state.finished = true;
  else state.at = open >= 0 ? open : earlier;
  show();
}

function go(step) {
  if (state.finished) return;
  spend();
  state.at = Math.min(Math.max(state.at + step, 0), ITEMS - 1);
  show();
}

function finish(finished) {
  if (!state.finished) spend();
  state.finished = finished;
  const open = state.answers.indexOf(null);
  if (!finished && open >= 0) state.at = open;
  show();
}

function show() {
  keep();
  shownAt = performance.now();
  element("asking").hidden = state.finished;
  element("scored").hidden = !state.finished;
  element("kept").textContent = stored
    ? "Answers are kept in this browser until you start over."
    : "This browser does not let the page keep answers: they are lost when it is closed or loaded again.";
  if (state.finished) showScore();
  else showImage();
}

function showImage() {
  const given = state.answers.filter((value) => value !== null).length;
  element("place").textContent = `Image ${state.at + 1} of ${ITEMS}, ${given} answered`;
  element("shown").src = DATA.images[state.at];
  for (const value of ["real", "synthetic"])
    element(value).setAttribute("aria-pressed", String(state.answers[state.at] === value));
  element("back").disabled = state.at === 0;
  element("next").disabled = state.at === ITEMS - 1;
  element("finish").disabled = given === 0;
}

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
  const truth = truths();
  const given = state.answers.filter((value) => value !== null).length;
  const right = state.answers.filter((value, i) => value === truth[i][1]).length;
  if (given === 0) element("score").textContent = "Nothing was answered yet.";
  else {
    const [low, high] = interval(right, given);
    const meaning = low > 0.5 ? "above" : high < 0.5 ? "below" : "compatible with";
    element("score").textContent = `${right} of ${given} right, ${percent(right / given)}; 95 % interval `
      + `${percent(low)} to ${percent(high)}, ${meaning} the 50 % of guessing.`;
  }
  element("confusion").replaceChildren(...["real", "synthetic"].map((kind) => confusionRow(truth, kind)));
  element("resume").hidden = given === ITEMS;
  element("gallery").replaceChildren(...DATA.images.map((image, i) => judged(image, truth[i], state.answers[i], i)));
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

function judged(image, [id, kind], said, i) {
  const figure = document.createElement("figure");
  if (said !== null && said !== kind) figure.className = "wrong";
  const picture = document.createElement("img");
  picture.src = image;
  picture.alt = `Image ${i + 1}, ${kind}`;
  const caption = document.createElement("figcaption");
  caption.textContent = `${i + 1}: ${kind}` + (said === null ? ", no answer" : `, you said ${said}`) + ` (${id})`;
  figure.append(picture, caption);
  return figure;
}

// A text that a spreadsheet would take for a formula is kept a text.
function cell(value) {
  const text = String(value ?? "");
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function exported() {
  const truth = truths();
  const lines = state.answers.map((said, i) => {
    const seconds = said === null ? "" : state.seconds[i].toFixed(2);
    return [i + 1, truth[i][0], truth[i][1], said, seconds].map(cell).join(",");
  });
  return ["number,id,truth,answer,seconds", ...lines].join("\r\n") + "\r\n";
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([exported()], { type: "text/csv" }));
  link.download = "answers.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

element("real").addEventListener("click", () => answer("real"));
element("synthetic").addEventListener("click", () => answer("synthetic"));
element("back").addEventListener("click", () => go(-1));
element("next").addEventListener("click", () => go(1));
element("finish").addEventListener("click", () => finish(true));
element("resume").addEventListener("click", () => finish(false));
element("export").addEventListener("click", download);
element("again").addEventListener("click", () => {
  if (!confirm("Forget all answers?")) return;
  state = fresh();
  show();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const act = { r: () => answer("real"), s: () => answer("synthetic"), ArrowLeft: () => go(-1), ArrowRight: () => go(1) };
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (Object.hasOwn(act, key)) act[key]();
});
addEventListener("pagehide", () => {
  if (!state.finished) spend();
  keep();
});
show();
