// @ts-check
// What the keys do.

export const KEYS = [
  ["Click", "place the chosen point, and on to the next"],
  ["Shift+click", "place it as occluded"],
  ["Drag", "move a point; beside one, the picture"],
  ["Wheel, + −, 0", "zoom to the pointer; the whole picture; two fingers do both"],
  ["Tab, Shift+Tab", "next and previous point"],
  ["Arrows", "move the point by a pixel, with Shift by ten"],
  ["Space", "place the point at the middle, for keyboards alone"],
  ["V", "visible, occluded, absent"],
  ["Del", "take the point's place away"],
  ["Ctrl+Z, Ctrl+Y", "undo, redo"],
  ["Enter", "finished: accept, and on to the next open picture"],
  ["[ ], N, S", "previous and next picture; next open one; next suggested one"],
  ["C", "copy the labels of the last finished picture"],
  ["I, X, B", "one instance more; remove the chosen one; drag its box"],
];

/** What a key does; the work returns false if no label changes. @param {any} page the label page @param {KeyboardEvent} event
 * @returns {(() => unknown) | undefined} */
export function work(page, event) {
  const { editor, view } = page;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  /** @param {() => unknown} act */
  const only = (act) => () => (act(), false);
  /** @type {Record<string, () => unknown>} */
  const always = {
    "[": only(() => void page.open(page.number - 1)),
    "]": only(() => void page.open(page.number + 1)),
    n: only(() => void page.open(page.nextOpen() ?? page.number)),
    s: only(() => void page.open(page.learner.next() ?? page.number)),
    h: only(() => /** @type {HTMLDialogElement} */ (document.getElementById("help")).showModal()),
  };
  const withControl = event.ctrlKey || event.metaKey;
  if (!editor) return withControl ? undefined : always[key]; // a picture that cannot be read
  if (withControl) {
    if (key === "z") return event.shiftKey ? () => editor.redo() : () => editor.undo();
    return key === "y" ? () => editor.redo() : undefined;
  }
  const far = event.shiftKey ? 10 : 1;
  const middle = [view.canvas.clientWidth / 2, view.canvas.clientHeight / 2];
  /** @type {Record<string, () => unknown>} */
  const keys = {
    ...always,
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
    c: () => (page.last.length ? editor.copy(page.last) : false),
    Enter: only(() => page.finish()),
    b: only(() => (page.pointer.boxing = true)),
    "+": only(() => view.zoom(1.25, middle[0], middle[1])),
    "=": only(() => view.zoom(1.25, middle[0], middle[1])),
    "-": only(() => view.zoom(0.8, middle[0], middle[1])),
    0: only(() => view.fit()),
  };
  return keys[key];
}
