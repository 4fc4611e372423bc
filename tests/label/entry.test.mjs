// Run by test_page.py with `node --test`: the labels of a picture, without a page.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ABSENT, Editor, OCCLUDED, VISIBLE } from "../../kptool/label/static/entry.js";

const empty = () => ({ instances: [], revision: 4, done: false });
const editor = (entry = empty(), count = 3) => new Editor(entry, count, 40, 30);

test("points are placed in order", () => {
  const one = editor();
  one.place(1, 2);
  one.place(3, 4, OCCLUDED);
  assert.equal(one.point, 2);
  one.place(5, 6);
  assert.equal(one.point, 2);
  assert.deepEqual(one.entry.instances[0].points, [[1, 2, VISIBLE], [3, 4, OCCLUDED], [5, 6, VISIBLE]]);
});

test("a point stays where it was put, within the picture", () => {
  const one = editor();
  one.place(12.3456, 7.891);
  assert.deepEqual(one.entry.instances[0].points[0], [12.35, 7.89, VISIBLE]);
  one.move(0, 0, -20, 99);
  assert.deepEqual(one.entry.instances[0].points[0], [-0.5, 29.5, VISIBLE]);
});

test("a box is drawn from any corner, from the picture's edges", () => {
  const one = editor();
  one.box([10, 20], [4, 8]);
  assert.deepEqual(one.entry.instances[0].box, [4.5, 8.5, 6, 12]);
  one.box([3, 3], [3, 9]);
  assert.deepEqual(one.entry.instances[0].box, [4.5, 8.5, 6, 12]);
});

test("every step is undone and repeated", () => {
  const one = editor();
  const states = [one.entry.instances];
  const steps = [
    () => one.place(1, 2),
    () => one.place(3, 4),
    () => (one.select(0, 1), one.nudge(10, -1)),
    () => one.cycle(),
    () => one.clear(),
    () => one.add(),
    () => one.remove(),
    () => one.finish(),
  ];
  for (const step of steps) {
    step();
    states.push(one.entry.instances);
  }
  for (let i = states.length - 2; i >= 0; i--) {
    assert.equal(one.undo(), true);
    assert.deepEqual(one.entry.instances, states[i]);
    assert.equal(one.entry.revision, 4);
  }
  assert.equal(one.undo(), false);
  for (let i = 1; i < states.length; i++) {
    assert.equal(one.redo(), true);
    assert.deepEqual(one.entry.instances, states[i]);
  }
  assert.equal(one.redo(), false);
});

test("a change after an undo forgets what could be repeated", () => {
  const one = editor();
  one.place(1, 2);
  one.undo();
  one.place(5, 6);
  assert.equal(one.redo(), false);
});

test("visibility goes round, and nothing happens to a point without a place", () => {
  const one = editor();
  one.cycle();
  one.clear();
  one.nudge(1, 1);
  assert.deepEqual(one.entry, empty());
  one.place(1, 2);
  one.select(0, 0);
  const seen = [];
  for (let i = 0; i < 3; i++) {
    one.cycle();
    seen.push(one.entry.instances[0].points[0][2]);
  }
  assert.deepEqual(seen, [OCCLUDED, ABSENT, VISIBLE]);
});

test("moving a proposed point accepts its instance, finishing accepts all", () => {
  const points = [[1, 2, VISIBLE], [3, 4, VISIBLE], [5, 6, VISIBLE]];
  const proposed = () => ({ points: structuredClone(points), box: null, proposed: true, radii: [1, 2, 3] });
  const one = editor({ instances: [proposed(), proposed()], revision: 0, done: false });
  one.move(0, 0, 9, 9);
  assert.deepEqual(one.entry.instances.map((each) => each.proposed), [false, true]);
  assert.equal(one.entry.instances[0].radii, null);
  one.finish();
  assert.deepEqual(one.entry.instances.map((each) => each.proposed), [false, false]);
  assert.equal(one.entry.done, true);
  assert.deepEqual(one.entry.instances[1].points, points);
});

test("the nearest point is found within a distance", () => {
  const one = editor();
  one.place(10, 10);
  one.place(14, 10);
  assert.deepEqual(one.nearest(13, 10, 5), { instance: 0, point: 1 });
  assert.equal(one.nearest(30, 20, 5), null);
});

test("copied labels are proposals, and do not change with their source", () => {
  const source = [{ points: [[1, 2, VISIBLE], [0, 0, ABSENT], [3, 4, OCCLUDED]], box: null, proposed: false, radii: null }];
  const one = editor();
  one.copy(source);
  one.move(0, 0, 7, 7);
  assert.deepEqual(source[0].points[0], [1, 2, VISIBLE]);
  assert.equal(one.entry.instances.length, 1);
});
