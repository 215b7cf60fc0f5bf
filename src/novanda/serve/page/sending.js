// Sends waiting images in chunks, a few requests at a time.

import { Refused } from "./service.js";

const AT_ONCE = 3;
const FILES = 16;
const BYTES = 32 * 2 ** 20;

export class Sender {
  /** @param settle called with an item and its result, once for each; @param idle called when nothing is left. */
  constructor(service, settle, idle) {
    Object.assign(this, { service, settle, idle, queue: [], running: 0, limits: null, model: "" });
    this.stopper = new AbortController();
  }

  add(items) {
    for (const item of items) {
      const problem = tooLarge(item.file, this.limits);
      if (problem) this.settle(item, { error: problem });
      else this.queue.push(item);
    }
    while (this.running < Math.min(AT_ONCE, this.queue.length)) this.work();
    if (!this.running) this.idle();
  }

  /** Forget what waits; answers under way are not wanted any more. */
  stop() {
    this.stopper.abort();
    this.stopper = new AbortController();
    this.queue = [];
  }

  async work() {
    const { signal } = this.stopper;
    this.running++;
    try {
      while (this.queue.length && !signal.aborted) await this.send(this.chunk(), signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.running--;
      if (!this.running && !this.queue.length) this.idle();
      else if (!signal.aborted || !this.running) this.revive();
    }
  }

  /** Workers that were stopped in the middle leave the queue to new ones. */
  revive() {
    while (this.running < Math.min(AT_ONCE, this.queue.length)) this.work();
  }

  chunk() {
    const most = Math.min(FILES, this.limits.files);
    const bytes = Math.min(BYTES, this.limits.request_bytes * 0.9);
    let size = this.queue[0].file.size;
    let count = 1;
    while (count < most && count < this.queue.length && size + this.queue[count].file.size <= bytes) {
      size += this.queue[count++].file.size;
    }
    return this.queue.splice(0, count);
  }

  async send(items, signal) {
    let results;
    try {
      results = await this.service.score(this.model, items.map((item) => item.file), signal);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (items.length > 1) { // one of them spoils it for the others: find out which
        const half = Math.ceil(items.length / 2);
        await this.send(items.slice(0, half), signal);
        await this.send(items.slice(half), signal);
        return;
      }
      results = [{ error: error.problem }];
    }
    if (!signal.aborted) items.forEach((item, place) => this.settle(item, results[place]));
  }
}

function tooLarge(file, limits) {
  if (file.size <= limits.file_bytes) return null;
  return {
    error: "too_large", expected: `a file of at most ${megabytes(limits.file_bytes)}`, got: megabytes(file.size),
    hint: "make the image smaller, or save it as JPEG",
  };
}

function megabytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(1)} MB`;
}
