// @ts-check
// Mouse, pen and fingers on the picture: click to place, drag to move, two fingers or the wheel to zoom.

import { OCCLUDED } from "./entry.js";

const GRAB = 10;
const STILL = 3;

/** @typedef {{instance: number, point: number}} Held */

export class Pointer {
  /** @param {HTMLCanvasElement} canvas @param {any} page the label page */
  constructor(canvas, page) {
    this.canvas = canvas;
    this.page = page;
    /** @type {Map<number, [number, number]>} where each finger is */
    this.fingers = new Map();
    /** @type {{x: number, y: number, held: Held | null, moved: boolean} | null} */
    this.drag = null;
    /** whether the next drag draws the instance's box */
    this.boxing = false;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.cancel(event));
    canvas.addEventListener("pointerleave", () => page.view.magnify(null));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  /** @param {PointerEvent | WheelEvent} event @returns {[number, number]} */
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** @param {PointerEvent} event */
  down(event) {
    const { editor, view } = this.page;
    if (!editor || event.button > 1) return;
    this.canvas.focus();
    this.canvas.setPointerCapture(event.pointerId);
    const [x, y] = this.place(event);
    this.fingers.set(event.pointerId, [x, y]);
    if (this.fingers.size > 1) {
      this.drop();
      return;
    }
    const [px, py] = view.toPicture(x, y);
    const held = this.boxing ? null : editor.nearest(px, py, GRAB / view.scale);
    if (held) this.page.choose(held.instance, held.point);
    this.drag = { x, y, held, moved: false };
  }

  /** @param {PointerEvent} event */
  move(event) {
    const { editor, view } = this.page;
    const [x, y] = this.place(event);
    if (this.fingers.size === 2 && this.fingers.has(event.pointerId)) {
      this.pinch(event.pointerId, x, y);
      return;
    }
    view.magnify(view.toPicture(x, y));
    const { drag } = this;
    if (!drag || !editor) return;
    if (!drag.moved && Math.hypot(x - drag.x, y - drag.y) < STILL) return;
    if (drag.moved && (drag.held || this.boxing)) editor.undo(); // a drag is one step
    if (this.boxing) {
      editor.box(view.toPicture(drag.x, drag.y), view.toPicture(x, y));
    } else if (drag.held) {
      const [px, py] = view.toPicture(x, y);
      editor.move(drag.held.instance, drag.held.point, px, py);
    } else {
      view.pan(x - drag.x, y - drag.y);
      [drag.x, drag.y] = [x, y];
    }
    drag.moved = true;
    this.page.changed(false);
  }

  /** @param {PointerEvent} event */
  up(event) {
    const { drag } = this;
    const { editor, view } = this.page;
    const [x, y] = this.place(event);
    this.fingers.delete(event.pointerId);
    this.drag = null;
    if (!drag || !editor) return;
    const { boxing } = this;
    this.boxing = false;
    if (drag.moved) {
      if (drag.held || boxing) this.page.changed();
    } else if (!drag.held && !boxing) {
      const [px, py] = view.toPicture(x, y);
      editor.place(px, py, event.shiftKey ? OCCLUDED : undefined);
      this.page.changed();
    }
  }

  /** @param {PointerEvent} event */
  cancel(event) {
    this.fingers.delete(event.pointerId);
    this.drop();
  }

  /** Leave what is dragged where it began. */
  drop() {
    const { editor } = this.page;
    if (editor && this.drag?.moved && (this.drag.held || this.boxing)) {
      editor.undo();
      editor.undone = []; // what was dropped does not come back
    }
    this.drag = null;
    this.boxing = false;
  }

  /** Two fingers: the place between them stays below them. @param {number} id @param {number} x @param {number} y */
  pinch(id, x, y) {
    const { view } = this.page;
    const other = [...this.fingers].find(([each]) => each !== id)?.[1];
    const before = this.fingers.get(id);
    if (!other || !before) return;
    const apart = (/** @type {[number, number]} */ at) => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1;
    view.pan((x - before[0]) / 2, (y - before[1]) / 2);
    view.zoom(apart([x, y]) / apart(before), (x + other[0]) / 2, (y + other[1]) / 2);
    this.fingers.set(id, [x, y]);
    this.page.changed(false);
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    const [x, y] = this.place(event);
    this.page.view.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), x, y);
    this.page.changed(false);
  }
}
