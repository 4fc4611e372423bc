// Run by test_page.py with `node --test`: sending labels to a server that answers late, refuses, or is full.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Saver } from "../../kptool/label/static/store.js";

const entry = (x, revision = 0) => ({ instances: [{ points: [[x, 0, 2]] }], revision, done: false });
const answer = (status, value) => ({ ok: status < 400, status, json: async () => value });

/** A saver whose server answers by `answers`, and what it was told and sent. */
function saver(answers) {
  const told = [];
  const sent = [];
  globalThis.fetch = async (path, options) => {
    sent.push([path, JSON.parse(options.body)]);
    return answers.shift()(sent.at(-1)[1]);
  };
  return { told, sent, one: new Saver((...what) => told.push(what), () => {}) };
}

const ended = async (one) => {
  while (one.pending) await new Promise((resolve) => setTimeout(resolve, 5));
};
const accept = (body) => answer(200, { revision: body.revision + 1 });

test("changes of one picture are sent in order, the last one as it is by then", async () => {
  const { one, sent, told } = saver([accept, accept]);
  one.put(3, entry(1));
  one.put(3, entry(2));
  one.put(3, entry(3));
  await ended(one);
  assert.deepEqual(sent.map(([path, body]) => [path, body.revision, body.instances[0].points[0][0]]), [
    ["api/labels/3", 0, 1],
    ["api/labels/3", 1, 3],
  ]);
  assert.equal(told.at(-1)[0], "saved");
});

test("a picture is settled when its change was answered", async () => {
  let release = () => {};
  const late = (body) => new Promise((resolve) => (release = () => resolve(accept(body))));
  const { one } = saver([late]);
  one.put(3, entry(1));
  let settled = false;
  const waits = one.settled(3).then(() => (settled = true));
  await one.settled(4);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(settled, false);
  release();
  await waits;
  assert.equal(one.revisions.get(3), 1);
});

test("what was refused is not called saved until the picture is loaded again", async () => {
  const { one, told } = saver([() => answer(409, { error: "changed" }), accept, accept]);
  one.put(3, entry(1));
  one.put(4, entry(1));
  await ended(one);
  assert.deepEqual(told.filter(([state]) => state !== "saving"), [["outdated", "changed", 3]]);
  one.loaded(3, 7);
  one.put(4, entry(2));
  await ended(one);
  assert.equal(told.at(-1)[0], "saved");
});

test("what the disk has no room for is sent again", async () => {
  const { one, told, sent } = saver([() => answer(507, { error: "the disk is full" }), accept]);
  one.put(3, entry(1));
  await ended(one);
  assert.equal(sent.length, 2);
  assert.match(told.find(([state]) => state === "failed")[1], /the disk is full; labels are kept here/);
  assert.equal(told.at(-1)[0], "saved");
});
