// @ts-check
// The label page: ties the picture, the lists, the keys and the pointer to the labels.

import { ABSENT, Editor, OCCLUDED } from "./entry.js";
import { KEYS, work } from "./keys.js";
import { Learner } from "./learn.js";
import { Pointer } from "./pointer.js";
import { Saver, finish, labels, project } from "./store.js";
import { View, colour } from "./view.js";

const ROW = 26;
/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

class Page {
  /** @param {Awaited<ReturnType<typeof project>>} about */
  constructor(about) {
    this.about = about;
    this.view = new View(element("canvas"), element("lens"));
    this.view.edges = about.edges;
    this.saver = new Saver(
      (state, why, number) => this.tell(state, why, number),
      (number, state) => this.updated(number, state),
    );
    /** @type {Editor | null} */
    this.editor = null;
    this.number = -1;
    this.ended = false;
    /** @type {import("./entry.js").Instance[]} */
    this.last = [];
    /** @type {Map<number, Promise<ImageBitmap>>} */
    this.pictures = new Map();
    this.frame = 0;
    this.pointer = new Pointer(element("canvas"), this);
    this.listen();
    this.drawKeys();
    this.drawPoints();
    const open = about.pictures.findIndex((one) => !one.done);
    void this.open(Math.max(0, open));
    this.learner = new Learner(this);
  }

  /** The decoded picture, from the server once. @param {number} number */
  picture(number) {
    let found = this.pictures.get(number);
    if (!found) {
      found = fetch(`picture/${number}`).then(async (answer) => {
        if (!answer.ok) throw new Error((await answer.json()).error);
        return createImageBitmap(await answer.blob());
      });
      this.pictures.set(number, found);
      found.catch(() => this.pictures.delete(number));
      if (this.pictures.size > 6) this.pictures.delete(/** @type {number} */ (this.pictures.keys().next().value));
    }
    return found;
  }

  /** Show a picture with its labels. @param {number} number */
  async open(number) {
    if (number < 0 || number >= this.about.pictures.length) return;
    this.number = number;
    this.editor = null;
    this.pointer.drop();
    this.drawList();
    element("name").textContent = `${this.about.pictures[number].name} — ${this.about.folder}`;
    try {
      await this.saver.settled(number); // or what is on its way would not be seen, and be overwritten
      const [entry, picture] = await Promise.all([labels(number), this.picture(number)]);
      if (this.number !== number) return;
      this.saver.loaded(number, entry.revision);
      this.editor = new Editor(entry, this.about.points.length, entry.width, entry.height);
      this.view.show(picture);
      this.message("");
    } catch (error) {
      if (this.number !== number) return;
      this.view.picture = null;
      this.message(error instanceof Error ? error.message : String(error));
    }
    this.changed(false);
    if (number + 1 < this.about.pictures.length) void this.picture(number + 1).catch(() => {});
  }

  /** Draw again, and save if the labels differ. @param {boolean} save */
  changed(save = true) {
    if (this.ended) return;
    if (save && this.editor) this.saver.put(this.number, this.editor.entry);
    if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.view.draw(this.editor);
      });
    }
    this.drawPoints();
  }

  /** @param {string} state @param {string} [why] @param {number} [number] the picture, where its change was refused */
  tell(state, why, number) {
    const saved = element("saved");
    saved.dataset.state = state === "outdated" ? "failed" : state;
    saved.textContent = { saving: "saving…", saved: "saved", failed: "not saved", outdated: "changed elsewhere" }[state] ?? "";
    this.message(why ?? "");
    if (state === "outdated" && number === this.number) void this.open(number).then(() => this.message(why ?? ""));
    else if (state === "outdated") void this.refresh().then(() => this.message(why ?? ""));
  }

  /** @param {string} text */
  message(text) {
    element("message").textContent = text;
  }

  /** @param {number} number @param {any} state */
  updated(number, state) {
    Object.assign(this.about.pictures[number], state);
    this.drawList();
  }

  /** Take up what a model proposes by now, but nothing in a picture that a person has begun. */
  async refresh() {
    this.about.pictures = (await project()).pictures;
    this.drawList();
    const { number, editor } = this;
    if (!editor || editor.steps.length || editor.entry.done || this.saver.pending) return;
    const entry = await labels(number);
    if (this.editor !== editor || editor.steps.length || this.pointer.drag) return;
    this.saver.loaded(number, entry.revision);
    this.editor = new Editor(entry, this.about.points.length, entry.width, entry.height);
    this.changed(false);
  }

  /** The next picture, from the one after this on, that is not finished. */
  nextOpen() {
    const { pictures } = this.about;
    for (let step = 1; step <= pictures.length; step++) {
      const number = (this.number + step) % pictures.length;
      if (!pictures[number].done) return number;
    }
    return null;
  }

  finish() {
    if (!this.editor) return;
    this.editor.finish();
    this.last = this.editor.entry.instances;
    this.about.pictures[this.number].done = true;
    this.changed();
    const next = this.nextOpen();
    if (next === null) this.message("all pictures are finished");
    else void this.open(next);
  }

  /** End the labelling, once everything is on the disk. */
  async end() {
    while (this.saver.pending) await new Promise((resolve) => setTimeout(resolve, 50));
    const { line } = await finish();
    this.ended = true;
    document.body.replaceChildren(make("p", "kptool label has ended; the labels are in labels.json. ", "ended"), make("code", line));
  }

  drawKeys() {
    element("keys").replaceChildren(
      ...KEYS.flatMap(([key, what]) => [make("dt", key), make("dd", what)]),
    );
  }

  drawPoints() {
    const { editor } = this;
    element("points").replaceChildren(
      ...this.about.points.map((name, index) => {
        const visibility = editor?.current?.points[index][2] ?? ABSENT;
        const swatch = make("span", "", "swatch");
        swatch.style.borderColor = colour(index);
        swatch.style.background = visibility === ABSENT ? "transparent" : colour(index);
        const state = visibility === ABSENT ? "—" : visibility === OCCLUDED ? "occluded" : "";
        const row = make("li", "", editor?.point === index ? "here" : "");
        row.append(swatch, make("span", name), make("span", state, "state"));
        row.addEventListener("click", () => this.choose(editor?.instance ?? 0, index));
        return row;
      }),
    );
    const count = editor?.entry.instances.length ?? 0;
    element("instances").replaceChildren(
      ...(count > 1 ? Array.from({ length: count }, (_, index) => this.instanceButton(index)) : []),
    );
  }

  /** @param {number} index */
  instanceButton(index) {
    const button = make("button", `${index + 1}`);
    button.setAttribute("aria-pressed", String(index === this.editor?.instance));
    button.addEventListener("click", () => this.choose(index, 0));
    return button;
  }

  /** @param {number} instance @param {number} point */
  choose(instance, point) {
    this.editor?.select(instance, point);
    this.changed(false);
  }

  /** The rows of the list that are in sight. */
  drawList() {
    const { pictures } = this.about;
    const box = element("pictures");
    const done = pictures.filter((one) => one.done).length;
    element("progress").value = done / pictures.length;
    element("count").textContent = `${done} of ${pictures.length}`;
    const list = element("list");
    list.style.height = `${pictures.length * ROW}px`;
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 5);
    const last = Math.min(pictures.length, first + Math.ceil(box.clientHeight / ROW) + 10);
    list.replaceChildren(
      ...pictures.slice(first, last).map((one, offset) => {
        const number = first + offset;
        const states = [one.done ? "done" : one.proposed ? "proposed" : "", number === this.number ? "here" : ""];
        const row = make("li", one.name, states.filter(Boolean).join(" "));
        row.style.top = `${number * ROW}px`;
        row.title = one.name;
        row.addEventListener("click", () => void this.open(number));
        return row;
      }),
    );
  }

  listen() {
    const canvas = element("canvas");
    new ResizeObserver(() => this.changed(false)).observe(canvas);
    element("pictures").addEventListener("scroll", () => this.drawList());
    element("previous").addEventListener("click", () => void this.open(this.number - 1));
    element("next").addEventListener("click", () => void this.open(this.number + 1));
    element("next-open").addEventListener("click", () => void this.open(this.nextOpen() ?? this.number));
    element("suggested").addEventListener("click", () => void this.open(this.learner.next() ?? this.number));
    element("done").addEventListener("click", () => this.finish());
    element("end").addEventListener("click", () => void this.end());
    element("help-button").addEventListener("click", () => element("help").showModal());
    element("brightness").addEventListener("input", (/** @type {any} */ event) => {
      this.view.brightness = Number(event.target.value);
      this.changed(false);
    });
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("beforeunload", (event) => {
      if (this.saver.pending) event.preventDefault();
    });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (this.ended || element("help").open) return;
    const act = work(this, event);
    if (!act) return;
    event.preventDefault();
    const before = this.editor?.entry;
    const changes = act() !== false;
    this.changed(changes && this.editor?.entry !== before);
  }
}

/** @param {string} kind @param {string} text @param {string} [names] @returns {any} */
function make(kind, text, names) {
  const made = document.createElement(kind);
  made.textContent = text;
  if (names) made.className = names;
  return made;
}

project().then(
  (about) => {
    // for tests that drive the page
    Object.assign(window, { kptool: new Page(about) });
  },
  (error) => {
    element("message").textContent = String(error);
  },
);
