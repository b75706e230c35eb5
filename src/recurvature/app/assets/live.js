// What the live figures share: the colours of the page, a canvas as wide as its column, controls, and numbers in words.
"use strict";

const RAMPS = {
  sequential: ["#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b"],
  signed: ["#d55e00", "#e39b66", "middle", "#6aa9cf", "#0072b2"],
  periodic: ["#0072b2", "#6a4fa3", "#b0307a", "#d55e00", "#8a8a00", "#009e73", "#0072b2"],
};

const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);

// The colour that a variable of the style sheet has now, in light or in dark.
function colour(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

function channels(text) {
  if (text[0] === "#") return [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
  return text.match(/[\d.]+/g).slice(0, 3).map(Number);
}

// A function from [0, 1] to red, green and blue.
function ramp(kind) {
  const stops = RAMPS[kind].map((stop) => channels(stop === "middle" ? colour("middle") : stop));
  return (share) => {
    const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    return stops[low].map((value, i) => Math.round(value + (at - low) * (stops[low + 1][i] - value)));
  };
}

const css = (rgb, alpha = 1) => `rgba(${rgb.join(",")},${alpha})`;

function words(value, digits = 3) {
  if (value === null || !Number.isFinite(value)) return "–";
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}

// To a hundredth of a range of values, or somewhat finer.
function within(value, span) {
  return words(Number(value.toFixed(Math.min(Math.max(2 - Math.floor(Math.log10(span)), 0), 12))));
}

// An element with attributes and children; text is never read as HTML.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function button(text, act) {
  const made = element("button", { type: "button" }, text);
  made.addEventListener("click", act);
  return made;
}

function labelled(text, control) {
  return element("label", {}, element("span", {}, text), control);
}

function choice(names, act) {
  const made = element("select");
  names.forEach((name, i) => made.append(element("option", { value: i }, name)));
  made.addEventListener("change", () => act(Number(made.value)));
  return made;
}

function slider(count, start, act) {
  const made = element("input", { type: "range", min: 0, max: count - 1, step: 1, value: start });
  made.addEventListener("input", () => act(Number(made.value)));
  return made;
}

// A canvas in front of the still picture of a figure, its controls, and a line of text; draws again when anything changes.
function stage(figure, label, draw, height) {
  const canvas = element("canvas", { tabindex: 0, role: "application", "aria-label": label });
  const controls = element("div", { class: "controls" });
  const said = element("p", { class: "said", role: "status" });
  figure.prepend(element("div", { class: "stage" }, canvas, controls, said));
  figure.classList.add("on");
  const context = canvas.getContext("2d");
  const size = { width: 0, height: 0 };
  let waiting = false;
  const paint = () => {
    waiting = false;
    const dots = window.devicePixelRatio || 1;
    size.width = canvas.clientWidth;
    size.height = Math.round(height(size.width));
    canvas.style.height = `${size.height}px`;
    canvas.width = Math.round(size.width * dots);
    canvas.height = Math.round(size.height * dots);
    context.setTransform(dots, 0, 0, dots, 0, 0);
    context.clearRect(0, 0, size.width, size.height);
    if (size.width) draw(context, size);
  };
  const redraw = () => {
    if (!waiting) requestAnimationFrame(paint);
    waiting = true;
  };
  new ResizeObserver(redraw).observe(canvas);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.querySelectorAll(".theme input").forEach((one) => one.addEventListener("change", redraw));
  return { canvas, controls, said, size, redraw };
}

// Where a pointer is on a canvas, in CSS pixels.
function place(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function text(context, words, x, y, ink, align = "left") {
  context.fillStyle = ink;
  context.textAlign = align;
  context.textBaseline = "middle";
  context.font = "12px system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif";
  context.fillText(words, x, y);
}

const VIEWS = {};

function begin() {
  for (const figure of document.querySelectorAll("figure.live")) {
    const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    VIEWS[figure.dataset.view](figure, data);
  }
}
