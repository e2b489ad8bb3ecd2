"use strict";
const element = (id) => document.getElementById(id);
const ITEMS = DATA.images.length;
const BUTTONS = [...document.querySelectorAll("[data-answer]")];
const ANSWERS = BUTTONS.map((button) => button.dataset.answer);
const fresh = () => ({
  at: 0, answers: Array(ITEMS).fill(null), seconds: Array(ITEMS).fill(0), finished: false, saved: 0,
});
let stored = true;
let state = recalled();
let shownAt = performance.now();

// What the images are is not legible in the page's source at a glance; it is read when all is answered.
const hidden = () => JSON.parse(atob(DATA.key));
const given = () => state.answers.filter((value) => value !== null).length;

// Answers are kept in the browser's storage, and with the window's place in its history: of files that are opened from
// a disk, Chromium 156 gives about one load in eight another, empty storage. The newest counts.
function recalled() {
  const found = [inStorage(), history.state?.[DATA.name]].filter(whole).sort((one, other) => other.saved - one.saved);
  return found[0] ?? fresh();
}

function inStorage() {
  try {
    return JSON.parse(localStorage.getItem(DATA.name));
  } catch (error) {
    stored = false;
    return null;
  }
}

function whole(found) {
  return found && Array.isArray(found.answers) && found.answers.length === ITEMS
    && found.answers.every((value) => value === null || ANSWERS.includes(value))
    && Array.isArray(found.seconds) && found.seconds.length === ITEMS
    && Number.isInteger(found.at) && found.at >= 0 && found.at < ITEMS && Number.isFinite(found.saved);
}

function keep() {
  state.saved = Date.now();
  stored = succeeds(() => localStorage.setItem(DATA.name, JSON.stringify(state)));
  succeeds(() => history.replaceState({ [DATA.name]: state }, "")); // browsers may refuse too many in a short time
}

function succeeds(write) {
  try {
    write();
    return true;
  } catch (error) {
    return false;
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
  changed();
}

function go(step) {
  if (state.finished) return;
  spend();
  state.at = Math.min(Math.max(state.at + step, 0), ITEMS - 1);
  changed();
}

function finish(finished) {
  if (!state.finished) spend();
  state.finished = finished;
  const open = state.answers.indexOf(null);
  if (!finished && open >= 0) state.at = open;
  changed();
}

function changed() {
  keep();
  show();
}

// Each page has a function showScore() for what follows the answers, and exported() for the lines of its file.
function show() {
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
  element("place").textContent = `Image ${state.at + 1} of ${ITEMS}, ${given()} answered`;
  element("shown").src = DATA.images[state.at];
  press(BUTTONS, state.answers[state.at]);
  element("back").disabled = state.at === 0;
  element("next").disabled = state.at === ITEMS - 1;
  element("finish").disabled = given() === 0;
}

function press(buttons, value) {
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.answer === value));
}

function pictured(i, alternative, text) {
  const figure = document.createElement("figure");
  const picture = document.createElement("img");
  picture.src = DATA.images[i];
  picture.alt = alternative;
  const caption = document.createElement("figcaption");
  caption.textContent = text;
  figure.append(picture, caption);
  return figure;
}

// A text that a spreadsheet would take for a formula is kept a text by an apostrophe; one that is there gets another, so
// that this can be undone.
function cell(value) {
  const text = String(value ?? "");
  const safe = /^[=+\-@\t\r']/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const table = (rows) => rows.map((row) => row.map(cell).join(",") + "\r\n").join("");

function download(name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([exported()], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function start(file) {
  const keys = { ArrowLeft: () => go(-1), ArrowRight: () => go(1) };
  for (const button of BUTTONS) {
    const act = () => answer(button.dataset.answer);
    button.addEventListener("click", act);
    keys[button.dataset.key] = act;
  }
  element("back").addEventListener("click", () => go(-1));
  element("next").addEventListener("click", () => go(1));
  element("finish").addEventListener("click", () => finish(true));
  element("resume").addEventListener("click", () => finish(false));
  element("export").addEventListener("click", () => download(file));
  element("again").addEventListener("click", () => {
    if (!confirm("Forget all answers?")) return;
    state = fresh();
    changed();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (Object.hasOwn(keys, key)) keys[key]();
  });
  // The page may be open twice. Nothing is written but what was just done, and what was done in another window is taken
  // over: a page that is opened or closed would else put what it knew in place of newer answers.
  addEventListener("storage", (event) => {
    if (event.key !== DATA.name) return;
    state = recalled();
    show();
  });
  show();
}
