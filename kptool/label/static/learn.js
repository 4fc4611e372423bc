// @ts-check
// What the model beside the labelling does: its progress, its errors by the number of labels, and what it suggests.

import { learn, learning } from "./store.js";

const EVERY = 2000;
const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [184, 90];

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

export class Learner {
  /** @param {any} page the label page */
  constructor(page) {
    this.page = page;
    this.rounds = -1;
    this.listed = "[]";
    /** @type {string[]} */
    this.suggested = [];
    element("learn-now").addEventListener("click", () => void learn().then((state) => this.show(state)));
    void this.watch();
  }

  async watch() {
    while (!this.page.ended) {
      try {
        const state = await learning();
        if (!state.enabled || this.page.ended) return;
        this.show(state);
      } catch {
        // the server is away; labels say so
      }
      await new Promise((resolve) => setTimeout(resolve, EVERY));
    }
  }

  /** @param {any} state */
  show(state) {
    element("learning").hidden = false;
    const last = state.rounds.at(-1);
    const done = this.page.about.pictures.filter((/** @type {any} */ one) => one.done && one.instances).length;
    const waits = `the next training begins with ${state.next} finished pictures`;
    element("doing").textContent = state.doing ? `${state.doing}…` : state.failed || waits;
    element("doing").dataset.failed = String(Boolean(state.failed && !state.doing));
    element("learn-now").disabled = Boolean(state.doing) || done < 10;
    element("reached").textContent = last
      ? `RMSE ${last.rmse.toPrecision(3)} px after ${last.images} pictures; the mean shape's ${last.mean_shape.toPrecision(3)} px`
      : "";
    element("gain").textContent = state.gain
      ? `${state.gain.images} more labels: about ${state.gain.rmse.toFixed(2).replace("-", "−")} px`
      : "";
    this.draw(state);
    this.suggested = state.suggested;
    element("suggested").hidden = !this.suggested.length;
    this.list(state.findings);
    if (this.rounds >= 0 && state.rounds.length !== this.rounds) void this.page.refresh();
    this.rounds = state.rounds.length;
  }

  /** The RMSE of the epochs of the training that goes on. @param {any} state */
  draw(state) {
    const values = state.epochs.map((/** @type {any} */ row) => Math.log(Math.max(1e-3, row.rmse)));
    const chart = element("chart");
    chart.toggleAttribute("hidden", values.length < 2);
    if (values.length < 2) return;
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const points = values.map((/** @type {number} */ value, /** @type {number} */ index) => {
      const x = 2 + ((WIDTH - 4) * index) / (values.length - 1);
      return `${x.toFixed(1)},${(HEIGHT - 4 - ((HEIGHT - 8) * (value - low)) / (high - low || 1)).toFixed(1)}`;
    });
    const line = document.createElementNS(SVG, "polyline");
    line.setAttribute("points", points.join(" "));
    const title = document.createElementNS(SVG, "title");
    const best = Math.exp(low).toPrecision(3);
    title.textContent = `RMSE by epoch, on a logarithmic scale: ${Math.exp(values[0]).toPrecision(3)} to ${best} px`;
    chart.replaceChildren(title, line);
    element("chart-says").textContent = `epoch ${state.epochs.at(-1).epoch}: best ${best} px`;
  }

  /** @param {[string, string][]} findings */
  list(findings) {
    const now = JSON.stringify(findings);
    if (now === this.listed) return;
    this.listed = now;
    element("findings-title").hidden = !findings.length;
    const names = this.page.about.pictures.map((/** @type {any} */ one) => one.name);
    element("findings").replaceChildren(
      ...findings.map(([name, why]) => {
        const row = document.createElement("li");
        const button = document.createElement("button");
        button.textContent = name;
        button.title = why;
        button.addEventListener("click", () => void this.page.open(names.indexOf(name)).then(() => this.page.message(why)));
        row.append(button);
        return row;
      }),
    );
  }

  /** The number of the next suggested picture that is still open, null if there is none. */
  next() {
    const { pictures, number } = /** @type {any} */ ({ pictures: this.page.about.pictures, number: this.page.number });
    for (const name of this.suggested) {
      const at = pictures.findIndex((/** @type {any} */ one) => one.name === name);
      if (at >= 0 && at !== number && !pictures[at].done) return at;
    }
    return null;
  }
}
