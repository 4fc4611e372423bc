// @ts-check
// What the page asks of the server: labels are sent one change after another, and again until they are on the disk.

const FIRST_WAIT = 400;
const LONGEST_WAIT = 10000;

/** @param {string} path @param {RequestInit} [options] @returns {Promise<any>} */
async function ask(path, options) {
  const answer = await fetch(path, options);
  const value = await answer.json();
  if (!answer.ok) throw new ServerError(answer.status, value.error);
  return value;
}

export class ServerError extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @returns {Promise<{folder: string, points: string[], edges: [number, number][], pictures: any[]}>} */
export const project = () => ask("api/project");

/** @param {number} number */
export const labels = (number) => ask(`api/labels/${number}`);

/** What the model does beside the labelling. */
export const learning = () => ask("api/learning");

/** @param {string} path */
const request = (path) => ask(path, { method: "PUT", headers: { "Content-Type": "application/json" }, body: "{}" });

/** Train now. */
export const learn = () => request("api/learning");

/** End the server. @returns {Promise<{line: string}>} */
export const finish = () => request("api/finish");

/** Sends the latest entry of each picture; `tell` gets "saving", "saved", "failed" or "outdated", and a reason. */
export class Saver {
  /** @param {(state: string, why?: string, number?: number) => void} tell @param {(number: number, state: any) => void} saved */
  constructor(tell, saved) {
    this.tell = tell;
    this.saved = saved;
    /** @type {Map<number, import("./entry.js").Entry>} */
    this.waiting = new Map();
    /** @type {Map<number, number>} */
    this.revisions = new Map();
    this.busy = false;
    /** the picture whose labels are on their way */
    this.sending = -1;
    /** @type {Set<number>} pictures whose last change was refused */
    this.refused = new Set();
  }

  /** When all changes of a picture were answered. @param {number} number */
  async settled(number) {
    while (this.waiting.has(number) || this.sending === number) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  get pending() {
    return this.busy || this.waiting.size > 0;
  }

  /** @param {number} number @param {import("./entry.js").Entry} entry */
  put(number, entry) {
    if (!this.revisions.has(number)) this.revisions.set(number, entry.revision);
    this.waiting.set(number, entry);
    this.tell("saving");
    if (!this.busy) void this.run();
  }

  /** The server's revision of a picture that was loaded again. @param {number} number @param {number} revision */
  loaded(number, revision) {
    this.refused.delete(number);
    this.revisions.set(number, revision);
  }

  async run() {
    this.busy = true;
    let wait = FIRST_WAIT;
    while (this.waiting.size) {
      const [number, entry] = /** @type {[number, import("./entry.js").Entry]} */ (this.waiting.entries().next().value);
      this.waiting.delete(number);
      this.sending = number;
      const body = JSON.stringify({ ...entry, revision: this.revisions.get(number) });
      try {
        const state = await ask(`api/labels/${number}`, {
          method: "PUT",
          headers: { "Content-Type": "application/json" },
          body,
        });
        this.revisions.set(number, state.revision);
        this.saved(number, state);
        wait = FIRST_WAIT;
        this.refused.delete(number);
      } catch (error) {
        if (error instanceof ServerError && error.status < 500) {
          this.refused.add(number);
          this.tell(error.status === 409 ? "outdated" : "failed", error.message, number);
          continue;
        }
        if (!this.waiting.has(number)) this.waiting.set(number, entry);
        const why = error instanceof ServerError ? error.message : "kptool does not answer";
        this.tell("failed", `${why}; labels are kept here and sent again`);
        await new Promise((resolve) => setTimeout(resolve, wait));
        wait = Math.min(2 * wait, LONGEST_WAIT);
      }
    }
    this.busy = false;
    this.sending = -1;
    if (!this.refused.size) this.tell("saved");
  }
}
