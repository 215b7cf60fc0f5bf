// The thumbnails. Only as many cards as a person has scrolled to are ever in the document.

import { isNovel, short } from "./decisions.js";

const STEP = 120;
const LABELS = { false_alarm: "marked false alarm", true_alarm: "marked true alarm" };

export class Gallery {
  constructor(grid, more, open) {
    Object.assign(this, { grid, more, open, cards: new Map(), items: [], shown: STEP, current: null });
    more.addEventListener("click", () => this.grow());
    new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && this.grow(), { rootMargin: "600px" })
      .observe(more);
    grid.addEventListener("keydown", (event) => this.move(event));
    grid.addEventListener("focusin", (event) => {
      const item = this.items.find((each) => this.cards.get(each)?.button === event.target);
      if (item) this.adopt(item);
    });
  }

  /** Show these items, in this order, decided at this rate. */
  show(items, rate) {
    this.items = items;
    this.rate = rate;
    const wanted = items.slice(0, this.shown);
    const kept = new Set(wanted);
    for (const [item, card] of this.cards) {
      if (!kept.has(item)) {
        URL.revokeObjectURL(card.address);
        this.cards.delete(item);
      }
    }
    const rows = wanted.map((item) => this.card(item).row);
    // Moving a row that has the focus would drop it, so nothing is touched where the order is the same.
    if (rows.length !== this.grid.children.length || rows.some((row, place) => this.grid.children[place] !== row)) {
      const focused = document.activeElement;
      this.grid.replaceChildren(...rows);
      if (this.grid.contains(focused)) focused.focus({ preventScroll: true });
    }
    for (const item of wanted) this.draw(item);
    // Tab leads to the first image, until a person has moved on from there.
    if (!kept.has(this.current) || !this.grid.contains(document.activeElement)) this.adopt(wanted[0] ?? null);
    this.more.hidden = items.length <= this.shown;
  }

  grow() {
    if (this.items.length <= this.shown) return;
    this.shown += STEP;
    this.show(this.items, this.rate);
  }

  reset() {
    this.shown = STEP;
    this.show([], null);
  }

  focus(item) {
    this.cards.get(item)?.button.focus();
  }

  card(item) {
    const known = this.cards.get(item);
    if (known) return known;
    const row = document.createElement("li");
    const button = element("button", "card");
    button.type = "button";
    button.tabIndex = -1;
    const picture = element("span", "picture");
    const image = document.createElement("img");
    const address = URL.createObjectURL(item.file);
    image.alt = "";
    image.loading = "lazy";
    image.decoding = "async";
    image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth <= 128));
    image.addEventListener("error", () => picture.replaceChildren("no preview"));
    image.src = address;
    picture.append(image);
    const name = element("span", "name", item.path.split("/").at(-1));
    button.title = item.path;
    const [word, number, said] = [element("b"), element("span"), element("span", "said")];
    const state = element("span", "state");
    state.append(word, " ", number);
    button.append(picture, name, " ", state, " ", said);
    button.addEventListener("click", () => this.open(item));
    row.append(button);
    const card = { row, button, word, number, said, address };
    this.cards.set(item, card);
    return card;
  }

  draw(item) {
    const { button, word, number, said } = this.cards.get(item);
    const novel = isNovel(item, this.rate);
    const waiting = item.novelty === null;
    button.classList.toggle("novel", novel === true);
    button.classList.toggle("waiting", waiting);
    word.textContent = waiting ? "waiting" : novel === null ? "scored" : novel ? "Novel" : "Normal";
    number.textContent = waiting ? "" : item.p === null ? short(item.novelty) : `p ${short(item.p)}`;
    said.textContent = LABELS[item.verdict] ?? "";
  }

  /** One card at a time is reached by Tab; the arrows move among them. */
  adopt(item) {
    const before = this.cards.get(this.current);
    if (before) before.button.tabIndex = -1;
    this.current = item;
    const now = this.cards.get(item);
    if (now) now.button.tabIndex = 0;
  }

  move(event) {
    const place = this.items.indexOf(this.current);
    const across = getComputedStyle(this.grid).gridTemplateColumns.split(" ").length;
    const ways = { ArrowRight: place + 1, ArrowLeft: place - 1, ArrowDown: place + across, ArrowUp: place - across, Home: 0, End: this.items.length - 1 };
    const target = ways[event.key];
    if (target === undefined || !this.items[target]) return;
    event.preventDefault();
    while (target >= this.shown) this.grow();
    this.focus(this.items[target]);
  }
}

export function element(tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.textContent = text;
  return made;
}
