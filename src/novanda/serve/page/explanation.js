// The dialog that says why: what the detector saw, what it expected, where they differ; and asks who was right.

import { inWords, isNovel, short } from "./decisions.js";
import { element } from "./gallery.js";
import { Refused } from "./service.js";

const $ = (id) => document.getElementById(id);

export class Explanation {
  /** @param context gives {items, rate, model} as they are now; @param changed called with an item that was marked. */
  constructor(service, context, changed, closed) {
    Object.assign(this, { service, context, changed, item: null, stopper: new AbortController() });
    this.dialog = $("why");
    this.dialog.addEventListener("close", () => {
      this.stopper.abort();
      const { item } = this;
      this.item = null;
      closed(item);
    });
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    $("why-close").addEventListener("click", () => this.dialog.close());
    $("why-previous").addEventListener("click", () => this.step(-1));
    $("why-next").addEventListener("click", () => this.step(1));
    $("mark-false").addEventListener("click", () => this.mark("false_alarm"));
    $("mark-true").addEventListener("click", () => this.mark("true_alarm"));
    $("why-save").addEventListener("click", () => this.save());
  }

  async open(item) {
    this.stopper.abort();
    this.stopper = new AbortController();
    const { signal } = this.stopper;
    this.item = item;
    this.drawDecision();
    $("why-name").textContent = item.path;
    this.showError(null);
    $("why-near").hidden = true;
    $("why-remarks").replaceChildren();
    $("why-pictures").setAttribute("aria-busy", "true");
    $("why-pictures").replaceChildren(element("p", "quiet", "Looking for the reason …"));
    $("why-save").disabled = true;
    if (!this.dialog.open) this.dialog.showModal();
    $("why-name").focus();
    try {
      const answer = await this.service.explain(this.context().model.name, item.file, "json", signal);
      const found = await answer.json();
      if (!signal.aborted) this.draw(found);
    } catch (error) {
      if (signal.aborted) return;
      $("why-pictures").replaceChildren();
      this.showError(error);
    } finally {
      if (!signal.aborted) $("why-pictures").setAttribute("aria-busy", "false");
    }
  }

  drawDecision() {
    const { items, rate, model } = this.context();
    const novel = isNovel(this.item, rate);
    $("why-decision").textContent = novel === null ? "No decision" : novel ? "Novel" : "Normal";
    $("why-decision").classList.toggle("novel", novel === true);
    $("why-words").textContent = inWords(this.item, model.calibration_count);
    $("mark-false").setAttribute("aria-pressed", String(this.item.verdict === "false_alarm"));
    $("mark-true").setAttribute("aria-pressed", String(this.item.verdict === "true_alarm"));
    const place = items.indexOf(this.item);
    $("why-previous").disabled = place <= 0;
    $("why-next").disabled = place < 0 || place >= items.length - 1;
  }

  draw(found) {
    const shown = [[found.image, "What the detector saw"], [found.expected, "What it expected"], [found.heat, found.heat_caption]];
    $("why-pictures").replaceChildren(...shown.filter(([source]) => source).map(([source, caption]) => {
      const figure = document.createElement("figure");
      figure.append(picture(source, caption), element("figcaption", "", caption));
      return figure;
    }));
    $("why-near").hidden = !found.neighbours.length;
    $("why-neighbours").replaceChildren(...found.neighbours.map(({ image, distance }) => {
      const row = document.createElement("li");
      row.append(picture(image, `Normal image at distance ${short(distance)}`), short(distance));
      return row;
    }));
    $("why-remarks").replaceChildren(...found.remarks.map((remark) => element("li", "", remark)));
    $("why-save").disabled = false;
  }

  step(by) {
    const { items } = this.context();
    const next = items[items.indexOf(this.item) + by];
    if (next) this.open(next);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const ways = {
      ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1),
      f: () => this.mark("false_alarm"), t: () => this.mark("true_alarm"),
    };
    const way = ways[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (way) {
      event.preventDefault();
      way();
    }
  }

  /** Marking once more takes the mark back. */
  async mark(verdict) {
    const { item } = this;
    if (!item || item.marking) return;
    item.marking = true;
    this.showError(null);
    try {
      if (item.verdict === verdict) {
        await this.service.withdraw(item.feedback);
        item.verdict = item.feedback = null;
      } else {
        item.feedback = await this.service.feedback(this.context().model.name, item, verdict);
        item.verdict = verdict;
      }
      this.changed(item);
    } catch (error) {
      if (this.item === item) this.showError(error);
    } finally {
      item.marking = false;
    }
    if (this.item === item) this.drawDecision();
  }

  async save() {
    const { item } = this;
    try {
      const answer = await this.service.explain(this.context().model.name, item.file, "png", this.stopper.signal);
      saveAs(await answer.blob(), `${item.path.split("/").at(-1).replace(/\.\w+$/, "")}-why.png`);
    } catch (error) {
      if (this.item === item) this.showError(error);
    }
  }

  showError(error) {
    $("why-error").hidden = !error;
    $("why-error").textContent = error instanceof Refused ? `${error.message} ${error.problem.hint}` : error ? String(error) : "";
  }
}

function picture(source, alt) {
  const image = document.createElement("img");
  image.src = source;
  image.alt = alt;
  return image;
}

export function saveAs(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
