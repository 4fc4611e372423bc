// @ts-check
// The label page: ties the picture, the lists, the keys and the pointer to the labels.

import { ABSENT, Editor, OCCLUDED } from "./entry.js";
import { Saver, labels, project } from "./store.js";
import { View, colour } from "./view.js";

const ROW = 26;
const GRAB = 10;
const KEYS = [
  ["Click", "place the chosen point, and on to the next"],
  ["Shift+click", "place it as occluded"],
  ["Drag", "move a point; beside one, the picture"],
  ["Wheel, + −, 0", "zoom to the pointer; the whole picture"],
  ["Tab, Shift+Tab", "next and previous point"],
  ["Arrows", "move the point by a pixel, with Shift by ten"],
  ["Space", "place the point at the middle, for keyboards alone"],
  ["V", "visible, occluded, absent"],
  ["Del", "take the point's place away"],
  ["Ctrl+Z, Ctrl+Y", "undo, redo"],
  ["Enter", "finished: accept, and on to the next open picture"],
  ["[ ], N", "previous and next picture; next open one"],
  ["C", "copy the labels of the last finished picture"],
  ["I, X", "one instance more; remove the chosen one"],
];

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

class Page {
  /** @param {Awaited<ReturnType<typeof project>>} about */
  constructor(about) {
    this.about = about;
    this.view = new View(element("canvas"), element("lens"));
    this.view.edges = about.edges;
    this.saver = new Saver(
      (state, why) => this.tell(state, why),
      (number, state) => this.updated(number, state),
    );
    /** @type {Editor | null} */
    this.editor = null;
    this.number = -1;
    /** @type {import("./entry.js").Instance[]} */
    this.last = [];
    /** @type {Map<number, Promise<ImageBitmap>>} */
    this.pictures = new Map();
    this.frame = 0;
    this.listen();
    this.drawKeys();
    this.drawPoints();
    const open = about.pictures.findIndex((one) => !one.done);
    void this.open(Math.max(0, open));
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
    this.drawList();
    element("name").textContent = `${this.about.pictures[number].name} — ${this.about.folder}`;
    try {
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
    if (save && this.editor) this.saver.put(this.number, this.editor.entry);
    if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.view.draw(this.editor);
      });
    }
    this.drawPoints();
  }

  /** @param {string} state @param {string} [why] */
  tell(state, why) {
    const saved = element("saved");
    saved.dataset.state = state === "outdated" ? "failed" : state;
    saved.textContent = { saving: "saving…", saved: "saved", failed: "not saved", outdated: "changed elsewhere" }[state] ?? "";
    this.message(why ?? "");
    if (state === "outdated") void this.open(this.number);
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
    element("done").addEventListener("click", () => this.finish());
    element("help-button").addEventListener("click", () => element("help").showModal());
    element("brightness").addEventListener("input", (/** @type {any} */ event) => {
      this.view.brightness = Number(event.target.value);
      this.changed(false);
    });
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("beforeunload", (event) => {
      if (this.saver.pending) event.preventDefault();
    });
    this.listenToPointer(canvas);
  }

  /** @param {HTMLCanvasElement} canvas */
  listenToPointer(canvas) {
    /** @type {{x: number, y: number, held: {instance: number, point: number} | null, moved: boolean} | null} */
    let drag = null;
    const place = (/** @type {PointerEvent | WheelEvent} */ event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.editor || event.button > 1) return;
      canvas.focus();
      canvas.setPointerCapture(event.pointerId);
      const [x, y] = place(event);
      const [px, py] = this.view.toPicture(x, y);
      const held = this.editor.nearest(px, py, GRAB / this.view.scale);
      if (held) this.choose(held.instance, held.point);
      drag = { x, y, held, moved: false };
    });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = place(event);
      this.view.magnify(/** @type {[number, number]} */ (this.view.toPicture(x, y)));
      if (!drag || !this.editor) return;
      if (!drag.moved && Math.hypot(x - drag.x, y - drag.y) < 3) return;
      if (drag.held) {
        const [px, py] = this.view.toPicture(x, y);
        if (drag.moved) this.editor.undo();
        this.editor.move(drag.held.instance, drag.held.point, px, py);
      } else {
        this.view.pan(x - drag.x, y - drag.y);
        [drag.x, drag.y] = [x, y];
      }
      drag.moved = true;
      this.changed(false);
    });
    canvas.addEventListener("pointerup", (event) => {
      const [x, y] = place(event);
      if (drag && this.editor) {
        if (drag.held && drag.moved) this.changed();
        else if (!drag.held && !drag.moved) {
          const [px, py] = this.view.toPicture(x, y);
          this.editor.place(px, py, event.shiftKey ? OCCLUDED : undefined);
          this.changed();
        }
      }
      drag = null;
    });
    canvas.addEventListener("pointerleave", () => this.view.magnify(null));
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const [x, y] = place(event);
        this.view.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), x, y);
        this.changed(false);
      },
      { passive: false },
    );
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (element("help").open || !this.editor) return;
    const work = this.work(event);
    if (!work) return;
    event.preventDefault();
    this.changed(work() !== false);
  }

  /** What a key does; the work returns false if no label changes. @param {KeyboardEvent} event @returns {(() => unknown) | undefined} */
  work(event) {
    const { editor, view } = this;
    if (!editor) return undefined;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey) {
      if (key === "z") return event.shiftKey ? () => editor.redo() : () => editor.undo();
      return key === "y" ? () => editor.redo() : undefined;
    }
    const far = event.shiftKey ? 10 : 1;
    const middle = [view.canvas.clientWidth / 2, view.canvas.clientHeight / 2];
    /** @param {() => unknown} act */
    const only = (act) => () => (act(), false);
    /** @type {Record<string, () => unknown>} */
    const keys = {
      Tab: only(() => editor.select(editor.instance, editor.point + (event.shiftKey ? -1 : 1))),
      ArrowLeft: () => editor.nudge(-far, 0),
      ArrowRight: () => editor.nudge(far, 0),
      ArrowUp: () => editor.nudge(0, -far),
      ArrowDown: () => editor.nudge(0, far),
      " ": () => editor.place(...view.toPicture(middle[0], middle[1])),
      v: () => editor.cycle(),
      Delete: () => editor.clear(),
      Backspace: () => editor.clear(),
      i: () => editor.add(),
      x: () => editor.remove(),
      c: () => (this.last.length ? editor.copy(this.last) : false),
      Enter: only(() => this.finish()),
      "[": only(() => void this.open(this.number - 1)),
      "]": only(() => void this.open(this.number + 1)),
      n: only(() => void this.open(this.nextOpen() ?? this.number)),
      "+": only(() => view.zoom(1.25, middle[0], middle[1])),
      "=": only(() => view.zoom(1.25, middle[0], middle[1])),
      "-": only(() => view.zoom(0.8, middle[0], middle[1])),
      0: only(() => view.fit()),
      h: only(() => element("help").showModal()),
    };
    return keys[key];
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
