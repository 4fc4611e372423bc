// @ts-check
// The labels of a picture and what can be done with them; no page and no network, so that it can be tested alone.

/** @typedef {[number, number, number]} Point x, y in pixels (an integer is a pixel's centre), visibility 0, 1 or 2 */
/** @typedef {{points: Point[], box: [number, number, number, number] | null, proposed: boolean, radii: (number | null)[] | null}} Instance */
/** @typedef {{instances: Instance[], revision: number, done: boolean}} Entry */

export const ABSENT = 0;
export const OCCLUDED = 1;
export const VISIBLE = 2;
const MOST_UNDONE = 500;

/** An instance without places. @param {number} count @returns {Instance} */
export function emptyInstance(count) {
  return { points: Array.from({ length: count }, () => [0, 0, ABSENT]), box: null, proposed: false, radii: null };
}

/** A picture's labels with the steps that led to them. */
export class Editor {
  /** @param {Entry} entry @param {number} count the number of points of an instance @param {number} width @param {number} height */
  constructor(entry, count, width, height) {
    this.count = count;
    this.width = width;
    this.height = height;
    this.entry = entry;
    this.instance = 0;
    this.point = 0;
    /** @type {Entry[]} */
    this.undone = [];
    /** @type {Entry[]} */
    this.steps = [];
    this.select(0, this.firstOpen(0) ?? 0);
  }

  get current() {
    return this.entry.instances[this.instance] ?? null;
  }

  /** The first point of an instance that has no place, null if all have one. @param {number} instance */
  firstOpen(instance) {
    const points = this.entry.instances[instance]?.points;
    if (!points) return 0;
    const found = points.findIndex((point) => point[2] === ABSENT);
    return found < 0 ? null : found;
  }

  /** @param {number} instance @param {number} point */
  select(instance, point) {
    this.instance = Math.max(0, Math.min(instance, this.entry.instances.length - 1));
    this.point = (point + this.count) % this.count;
  }

  /** Change the entry as one step that can be undone. @param {(entry: Entry) => void} change */
  change(change) {
    const next = structuredClone(this.entry);
    change(next);
    this.steps.push(this.entry);
    if (this.steps.length > MOST_UNDONE) this.steps.shift();
    this.undone = [];
    this.entry = next;
  }

  /** Whether there was a step to undo. */
  undo() {
    return this.restore(this.steps, this.undone);
  }

  /** Whether there was a step to repeat. */
  redo() {
    return this.restore(this.undone, this.steps);
  }

  /** @param {Entry[]} from @param {Entry[]} to */
  restore(from, to) {
    const other = from.pop();
    if (!other) return false;
    to.push(this.entry);
    this.entry = { ...other, revision: this.entry.revision };
    this.select(this.instance, this.point);
    return true;
  }

  /** A place within the picture, to a hundredth of a pixel. @param {number} x @param {number} y @returns {[number, number]} */
  within(x, y) {
    const clamp = (/** @type {number} */ value, /** @type {number} */ side) =>
      Math.round(Math.max(-0.5, Math.min(side - 0.5, value)) * 100) / 100;
    return [clamp(x, this.width), clamp(y, this.height)];
  }

  /** Place the chosen point, and choose the next one without a place. @param {number} x @param {number} y @param {number} visibility */
  place(x, y, visibility = VISIBLE) {
    this.move(this.instance, this.point, x, y, visibility);
    this.point = this.firstOpen(this.instance) ?? this.point;
  }

  /** Move a point; it becomes visible if it was absent. @param {number} instance @param {number} point @param {number} x
   * @param {number} y @param {number} [visibility] */
  move(instance, point, x, y, visibility) {
    const [left, top] = this.within(x, y);
    this.change((entry) => {
      if (!entry.instances.length) entry.instances.push(emptyInstance(this.count));
      const one = entry.instances[instance];
      one.points[point] = [left, top, visibility ?? (one.points[point][2] || VISIBLE)];
      one.proposed = false;
      one.radii = null;
    });
  }

  /** Move the chosen point by pixels; nothing if it has no place. @param {number} dx @param {number} dy */
  nudge(dx, dy) {
    const at = this.current?.points[this.point];
    if (at && at[2] !== ABSENT) this.move(this.instance, this.point, at[0] + dx, at[1] + dy);
  }

  /** Visible, occluded, absent, and visible again; a point without a place stays absent. */
  cycle() {
    const at = this.current?.points[this.point];
    if (!at) return;
    const known = at[0] !== 0 || at[1] !== 0 || at[2] !== ABSENT;
    if (!known) return;
    this.change((entry) => {
      const point = entry.instances[this.instance].points[this.point];
      point[2] = point[2] === VISIBLE ? OCCLUDED : point[2] === OCCLUDED ? ABSENT : VISIBLE;
    });
  }

  /** Take the chosen point's place away. */
  clear() {
    if (!this.current || this.current.points[this.point][2] === ABSENT) return;
    this.change((entry) => {
      entry.instances[this.instance].points[this.point] = [0, 0, ABSENT];
    });
  }

  /** Add an instance, and choose its first point. */
  add() {
    this.change((entry) => entry.instances.push(emptyInstance(this.count)));
    this.select(this.entry.instances.length - 1, 0);
  }

  /** Remove the chosen instance. */
  remove() {
    if (!this.current) return;
    this.change((entry) => entry.instances.splice(this.instance, 1));
    this.select(this.instance, 0);
  }

  /** The chosen instance's box, between two places; nothing if it has no extent. @param {number[]} from @param {number[]} to */
  box(from, to) {
    const [ax, ay] = this.within(from[0], from[1]);
    const [bx, by] = this.within(to[0], to[1]);
    this.change((entry) => {
      if (!entry.instances.length) entry.instances.push(emptyInstance(this.count));
      const one = entry.instances[this.instance];
      const [width, height] = [Math.abs(bx - ax), Math.abs(by - ay)];
      if (width > 0 && height > 0) one.box = [Math.min(ax, bx) + 0.5, Math.min(ay, by) + 0.5, width, height];
    });
  }

  /** Take over instances, such as those of another picture, as proposals. @param {Instance[]} instances */
  copy(instances) {
    this.change((entry) => {
      entry.instances = structuredClone(instances).map((one) => ({ ...one, proposed: true, radii: null }));
    });
    this.select(0, 0);
  }

  /** Accept what was proposed, and mark the picture as finished. */
  finish() {
    this.change((entry) => {
      entry.done = true;
      for (const one of entry.instances) {
        one.proposed = false;
        one.radii = null;
      }
    });
  }

  /** The point next to a place, within a distance. @param {number} x @param {number} y @param {number} most
   * @returns {{instance: number, point: number} | null} */
  nearest(x, y, most) {
    let best = null;
    let least = most * most;
    this.entry.instances.forEach((one, instance) =>
      one.points.forEach(([px, py, visibility], point) => {
        const square = (px - x) ** 2 + (py - y) ** 2;
        if (visibility !== ABSENT && square <= least) {
          least = square;
          best = { instance, point };
        }
      }),
    );
    return best;
  }
}
