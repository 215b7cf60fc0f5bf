// The page: what a person drops, the service scores, and the slider decides.

import { csv, isNovel, oneIn, percent, steps } from "./decisions.js";
import { Explanation, saveAs } from "./explanation.js";
import { element, Gallery } from "./gallery.js";
import { chosen, dropped } from "./intake.js";
import { Sender } from "./sending.js";
import { Service } from "./service.js";

const $ = (id) => document.getElementById(id);
const SLOW = 400; // milliseconds between two drawings while results stream in
const SPOKEN = 3000; // and between two words to a screen reader
const REFUSED_SHOWN = 200;
const OPENED = 3; // refused files whose reasons are shown unasked

const state = { models: [], model: null, rates: [], rate: null, items: [], skipped: 0 };
const service = new Service(askForToken, tellGone);
const sender = new Sender(service, settle, () => { draw(); speak(true); });
const gallery = new Gallery($("grid"), $("more"), (item) => item.novelty !== null && explanation.open(item));
const explanation = new Explanation(
  service,
  () => ({ items: visible().filter((item) => item.novelty !== null), rate: state.rate, model: state.model }),
  () => draw(),
  (item) => { draw(); gallery.focus(item); },
);

// ---- Taking files in

async function take(gathering) {
  const { found, skipped } = await gathering;
  state.skipped += skipped;
  const added = found.map(({ file, path }) => ({ file, path, novelty: null, p: null, error: null, verdict: null, feedback: null }));
  state.items.push(...added);
  notice();
  draw();
  await ready;
  sender.add(added);
}

function notice() {
  const words = state.skipped ? `${count(state.skipped, "file")} in the folder ${state.skipped === 1 ? "is no image" : "are no images"} and left out.` : "";
  $("notice").textContent = words;
  $("notice").hidden = !words;
}

for (const [button, input] of [["choose-files", "files"], ["choose-folder", "folder"]]) {
  $(button).addEventListener("click", () => $(input).click());
  $(input).addEventListener("change", () => {
    take(chosen($(input).files));
    $(input).value = "";
  });
}

let hovering = 0; // dragenter and dragleave come for every element crossed
addEventListener("dragenter", () => $("drop").classList.toggle("over", ++hovering > 0));
addEventListener("dragleave", () => $("drop").classList.toggle("over", --hovering > 0));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  hovering = 0;
  $("drop").classList.remove("over");
  if (!document.querySelector("dialog[open]")) take(dropped(event.dataTransfer));
});

// ---- Results

function settle(item, result) {
  item.error = result.error ?? null;
  item.novelty = result.novelty ?? null;
  item.p = result.p_value ?? null;
  drawSoon();
}

function decided(wanted) {
  return state.items.filter((item) => item.novelty !== null && isNovel(item, state.rate) === wanted);
}

/** What the grid shows: scored ones by novelty, then those that wait. */
function visible() {
  const show = document.querySelector("input[name=show]:checked").value;
  const sign = $("order").value === "novel" ? -1 : 1;
  const scored = show === "all" ? state.items.filter((item) => item.novelty !== null) : decided(show === "novel");
  scored.sort((a, b) => sign * (a.novelty - b.novelty));
  return show === "all" ? [...scored, ...state.items.filter((item) => item.novelty === null && !item.error)] : scored;
}

let drawing = 0;
function drawSoon() {
  drawing ||= setTimeout(draw, SLOW);
}

function draw() {
  clearTimeout(drawing);
  drawing = 0;
  const total = state.items.length;
  const refused = state.items.filter((item) => item.error);
  const scored = state.items.filter((item) => item.novelty !== null).length;
  const done = scored + refused.length;
  const novel = decided(true).length;
  $("drop").classList.toggle("small", total > 0);
  $("drop-title").textContent = total ? "Drop more images or folders anywhere" : "Drop images or a folder here";
  $("panel").hidden = !total;
  $("count-novel").textContent = novel.toLocaleString("en");
  $("count-rest").textContent = `novel of ${scored.toLocaleString("en")} scored`;
  $("progress").max = total || 1;
  $("progress").value = done;
  $("progress").hidden = done === total;
  $("download").disabled = !done;
  drawRefused(refused);
  gallery.show(visible(), state.rate);
  speak(false);
}

function drawRefused(refused) {
  $("refused").hidden = !refused.length;
  $("refused-title").textContent = `${count(refused.length, "file")} could not be scored`;
  const rows = refused.slice(0, REFUSED_SHOWN).map((item) => {
    const row = document.createElement("li");
    const { expected, got, hint } = item.error;
    row.append(element("strong", "", item.path), `: ${got}. Expected ${expected}; ${hint}.`);
    return row;
  });
  if (refused.length > REFUSED_SHOWN) rows.push(element("li", "", `and ${refused.length - REFUSED_SHOWN} more; the CSV has them all.`));
  $("refused-list").replaceChildren(...rows);
  if (refused.length && !$("refused").dataset.seen) {
    $("refused").dataset.seen = "yes";
    $("refused").open = refused.length <= OPENED;
  }
}

let lastSpoken = 0;
function speak(finished) {
  if (!state.items.length || (!finished && Date.now() - lastSpoken < SPOKEN)) return;
  const refused = state.items.filter((item) => item.error).length;
  const done = refused + state.items.filter((item) => item.novelty !== null).length;
  if (!finished && done === state.items.length) return; // idle says that
  lastSpoken = Date.now();
  const words = [`${done} of ${state.items.length} done`, `${decided(true).length} novel`];
  if (refused) words.push(`${refused} could not be scored`);
  $("spoken").textContent = `${words.join(", ")}.`;
}

function count(number, thing) {
  return `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;
}

// ---- Deciding

function chooseModel(name) {
  state.model = state.models.find((model) => model.name === name);
  sender.model = name;
  const { calibration_count: n, false_alarm_rate: asked } = state.model;
  const { rates, place } = n ? steps(n, asked) : { rates: [], place: 0 };
  state.rates = rates;
  $("rate").max = Math.max(0, rates.length - 1);
  $("rate").value = place;
  $("rate").disabled = !n;
  chooseRate();
}

function chooseRate() {
  const n = state.model.calibration_count;
  state.rate = n ? state.rates[Number($("rate").value)] : null;
  const shown = n ? percent(state.rate) : "none";
  $("rate-shown").textContent = shown;
  $("rate").setAttribute("aria-valuetext", n ? `${shown}, ${oneIn(state.rate)}` : "no threshold");
  $("rate-about").textContent = n
    ? `Of new normal images ${oneIn(state.rate)} would be flagged, judged by ${n.toLocaleString("en")} that were kept aside.`
    : "This detector was fitted without held-out normals: it scores and decides nothing.";
  draw();
}

$("rate").addEventListener("input", chooseRate);
$("order").addEventListener("change", draw);
for (const choice of document.querySelectorAll("input[name=show]")) choice.addEventListener("change", draw);
$("model").addEventListener("change", () => {
  sender.stop();
  chooseModel($("model").value);
  for (const item of state.items) Object.assign(item, { novelty: null, p: null, error: null, verdict: null, feedback: null });
  draw();
  sender.add(state.items);
});
$("download").addEventListener("click", () => {
  saveAs(new Blob([csv(state.items, state.rate)], { type: "text/csv" }), "scores.csv");
});
$("clear").addEventListener("click", () => {
  sender.stop();
  Object.assign(state, { items: [], skipped: 0 });
  delete $("refused").dataset.seen;
  $("spoken").textContent = "Cleared.";
  gallery.reset();
  notice();
  draw();
  $("choose-files").focus();
});

// ---- The service

function tellGone(seconds) {
  $("banner").hidden = seconds === null;
  if (seconds === null) return;
  const words = "The service does not answer. Your images stay here, and scoring goes on when it is back.";
  if ($("banner-text").firstChild?.textContent !== words) $("banner-text").replaceChildren(words, element("span"));
  const next = $("banner-text").lastChild;
  next.setAttribute("aria-hidden", "true"); // counted for the eye only: read aloud every second it would be a torment
  next.textContent = ` Next try in ${seconds} s.`;
}
$("banner-retry").addEventListener("click", () => service.knockNow());

function askForToken(refused) {
  $("login-error").hidden = !refused;
  $("token").value = "";
  const before = document.activeElement;
  $("login").showModal();
  $("token").focus();
  return new Promise((resolve) => {
    const entered = () => {
      $("login").close();
      before?.focus?.();
      resolve($("token").value.trim());
    };
    $("login-form").addEventListener("submit", (event) => { event.preventDefault(); entered(); }, { once: true });
  });
}
$("login").addEventListener("cancel", (event) => event.preventDefault()); // without a token nothing works

async function start() {
  const { models, limits, service: version } = await service.models();
  state.models = models;
  sender.limits = limits;
  $("model").replaceChildren(...models.map(({ name, title }) => new Option(`${name} (${title})`, name)));
  document.documentElement.dataset.version = version;
  chooseModel(models[0].name);
}

const ready = start();
