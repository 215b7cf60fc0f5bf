// Talks to the service: the token, refusals in its own words, and what to do while it is busy or gone.

const TOKEN = "novanda-token";
const LONGEST_WAIT = 10; // seconds between two knocks at a service that is gone

/** The service said no. `problem` is its JSON: error, expected, got, hint, and results for files. */
export class Refused extends Error {
  constructor(status, problem) {
    super(`Expected ${problem.expected}; got ${problem.got}.`);
    this.status = status;
    this.problem = problem;
  }
}

export class Service {
  /** @param ask called when a token is wanted, with whether one was refused; resolves to the token.
   *  @param tell called with the seconds until the next knock while the service is gone, with null once it is back. */
  constructor(ask, tell) {
    this.ask = ask;
    this.tell = tell;
    this.seconds = 60;
    this.asking = null;
    this.knocking = null;
    this.knockNow = () => {};
  }

  /** An answer, after as many tries as it takes: only a refusal or `signal` ends it otherwise. */
  async request(path, options = {}) {
    for (let busy = 0; ; ) {
      const token = sessionStorage.getItem(TOKEN);
      const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
      const late = AbortSignal.timeout((this.seconds + 15) * 1000);
      const signal = options.signal ? AbortSignal.any([options.signal, late]) : late;
      let answer;
      try {
        answer = await fetch(path, { ...options, headers, signal });
      } catch (error) {
        options.signal?.throwIfAborted();
        // The service is gone; or it is there, and what was sent could not be read from the disk.
        if (await this.alive()) {
          if (options.body && ++busy >= 2) throw new Refused(0, unsendable);
        }
        else await this.back(options.signal);
        continue;
      }
      if (answer.ok) return answer;
      if (answer.status === 401) {
        await this.login(token);
      } else if (answer.status === 429 || answer.status === 503) {
        const seconds = Number(answer.headers.get("Retry-After")) || 1;
        await pause(seconds * 1000 * (1 + Math.random() + Math.min(busy++, 5)), options.signal);
      } else {
        throw new Refused(answer.status, await answer.json().catch(() => unknown(answer.status)));
      }
    }
  }

  /** Ask for a token once, however many requests want one. */
  async login(refused) {
    if (sessionStorage.getItem(TOKEN) !== refused) return; // another request has asked meanwhile
    this.asking ??= this.ask(refused !== null).finally(() => { this.asking = null; });
    sessionStorage.setItem(TOKEN, await this.asking);
  }

  async alive() {
    try {
      return (await fetch("/healthz", { signal: AbortSignal.timeout(5000) })).ok;
    } catch {
      return false;
    }
  }

  /** Resolves once the service answers again; everyone waits on the same knocking. */
  async back(signal) {
    this.knocking ??= this.knock().finally(() => { this.knocking = null; });
    await this.knocking;
    signal?.throwIfAborted();
  }

  async knock() {
    for (let wait = 1; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
      for (let left = wait; left > 0; left--) {
        this.tell(left);
        const now = new Promise((resolve) => { this.knockNow = () => resolve(true); });
        if (await Promise.race([pause(1000), now])) break;
      }
      if (await this.alive()) break;
    }
    this.tell(null);
  }

  async models() {
    const found = await (await this.request("/v1/models")).json();
    this.seconds = found.limits.seconds;
    return found;
  }

  /** Results in the order of the files, also where all of them were refused. */
  async score(model, files, signal) {
    const body = new FormData();
    for (const file of files) body.append("files", file, file.name);
    try {
      const answer = await this.request(`/v1/score?model=${encodeURIComponent(model)}`, { method: "POST", body, signal });
      return (await answer.json()).results;
    } catch (error) {
      if (error instanceof Refused && error.problem.results) return error.problem.results;
      throw error;
    }
  }

  async explain(model, file, format, signal) {
    const body = new FormData();
    body.append("files", file, file.name);
    const path = `/v1/explain?model=${encodeURIComponent(model)}&format=${format}`;
    return this.request(path, { method: "POST", body, signal });
  }

  async feedback(model, item, verdict) {
    const said = { model, name: item.path.slice(-1024), novelty: item.novelty, verdict };
    const headers = { "Content-Type": "application/json" };
    const answer = await this.request("/v1/feedback", { method: "POST", headers, body: JSON.stringify(said) });
    return (await answer.json()).id;
  }

  async withdraw(id) {
    await this.request(`/v1/feedback/${id}`, { method: "DELETE" });
  }
}

const unsendable = {
  error: "unsendable", expected: "a file that can be read", got: "one that can not be read any more",
  hint: "It may have been moved or changed since it was chosen; choose it again.",
};

function unknown(status) {
  return { error: "unknown", expected: "an answer of this service", got: `status ${status}`, hint: "Is something in between?" };
}

export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}
