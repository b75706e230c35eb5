// The one latent variable: its rate at every value, under an input that a slider sets, and where a start that is dragged goes.

VIEWS.line = (figure, data) => {
  const [axis] = data.axes;
  const n = data.count;
  const middle = (axis.low + axis.high) / 2;
  const view = { slide: 0, value: Math.floor(data.slides[0].values.length / 2), start: middle + (axis.high - middle) / 3, clock: null };
  const { now, set, slide, rate, output, path, inputs, key } = flowing(data, view, crossings);
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  let places = [];
  let running = 0;

  // Where the rate changes its sign between two points of the table.
  function crossings(field) {
    const found = [];
    for (let i = 0; i < n - 1; i += 1) {
      const [p, q] = [field[i], field[i + 1]];
      if (p > 0 === q > 0) continue;
      found.push([axis.low + ((i + p / (p - q)) / (n - 1)) * (axis.high - axis.low), p > q ? "stable" : "repeller"]);
    }
    return found;
  }

  const edge = { left: 50, right: 12, top: 10, between: 34, below: 12 };

  function lens(size) {
    const wide = size.width - edge.left - edge.right;
    const high = size.height - edge.top - edge.between - edge.below;
    const upper = { top: edge.top, high: 0.62 * high };
    const lower = { top: edge.top + upper.high + edge.between, high: 0.38 * high };
    const most = Math.max(...slide().fields.map((field) => Math.max(...field.map(Math.abs)))) * data.scale || 1;
    const last = Math.max(5, (places.length - 1) * STEP);
    return {
      upper,
      lower,
      wide,
      most,
      last,
      x: (kappa) => edge.left + (wide * (kappa - axis.low)) / (axis.high - axis.low),
      y: (speed) => upper.top + upper.high * (0.5 - speed / (2.1 * most)),
      t: (time) => lower.top + (lower.high * time) / last,
      kappa: (x) => axis.low + ((x - edge.left) / wide) * (axis.high - axis.low),
    };
  }

  function draw(context, size) {
    const on = lens(size);
    shade(context, on);
    frame(context, on);
    held(context, on);
    line(context, now.field.map((value, i) => [on.x(axis.low + (i / (n - 1)) * (axis.high - axis.low)), on.y(value * data.scale)]), colour("blue"), 2);
    arrows(context, on);
    went(context, on);
    for (const [kappa, type] of now.points) rest(context, [on.x(kappa), on.y(0)], type);
  }

  function line(context, points, ink, width) {
    context.beginPath();
    points.forEach((point) => context.lineTo(...point));
    context.strokeStyle = ink;
    context.lineWidth = width;
    context.stroke();
  }

  // What would be put out at every value, as a pale colour.
  function shade(context, { upper, wide }) {
    if (!data.output) return;
    const paint = outputs(data.output);
    const fill = context.createLinearGradient(edge.left, 0, edge.left + wide, 0);
    now.outputs.forEach((value, i) => fill.addColorStop(i / (n - 1), css(paint(value), 0.28)));
    context.fillStyle = fill;
    context.fillRect(edge.left, upper.top, wide, upper.high);
  }

  function frame(context, { upper, lower, wide, most, last, x, y, t }) {
    const ink = colour("soft");
    context.strokeStyle = colour("line");
    context.lineWidth = 1;
    for (const panel of [upper, lower]) context.strokeRect(edge.left, panel.top, wide, panel.high);
    line(context, [[edge.left, y(0)], [edge.left + wide, y(0)]], ink, 1);
    for (const share of [0, 0.5, 1]) {
      const kappa = axis.low + share * (axis.high - axis.low);
      text(context, words(kappa, 2), x(kappa), upper.top + upper.high + 14, ink, share === 1 ? "right" : share ? "center" : "left");
    }
    for (const speed of [-most, 0, most]) text(context, words(speed, 2), edge.left - 6, y(speed), ink, "right");
    for (const time of [0, last]) text(context, words(time, 2), edge.left - 6, t(time) + (time ? -5 : 6), ink, "right");
    text(context, axis.name, x(axis.low + 0.75 * (axis.high - axis.low)), upper.top + upper.high + 14, colour("ink"), "center");
    text(context, `${axis.name}̇ (1/${data.unit})`, edge.left + 6, upper.top + 10, colour("ink"));
    text(context, `time (${data.unit}) ↓`, edge.left + 6, lower.top + 10, colour("ink"));
  }

  // The fixed points through time.
  function held(context, { upper, lower, x, y }) {
    context.setLineDash([3, 4]);
    for (const [kappa] of now.points) {
      for (const [top, bottom] of [[y(0), upper.top + upper.high], [lower.top, lower.top + lower.high]]) line(context, [[x(kappa), top], [x(kappa), bottom]], colour("soft"), 1);
    }
    context.setLineDash([]);
  }

  // Which way it goes, along the line of rest.
  function arrows(context, { x, y }) {
    context.fillStyle = colour("ink");
    for (let share = 0.04; share < 1; share += 0.08) {
      const kappa = axis.low + share * (axis.high - axis.low);
      const [speed] = rate([kappa]);
      const size = 3 + 5 * Math.sqrt(Math.abs(speed) / now.fastest);
      if (Math.abs(speed) < 1e-3 * now.fastest) continue;
      const tip = x(kappa) + Math.sign(speed) * size;
      context.beginPath();
      [[tip, y(0)], [x(kappa), y(0) - size / 2], [x(kappa), y(0) + size / 2]].forEach((point) => context.lineTo(...point));
      context.fill();
    }
  }

  // The path of the start: along the curve above, through time below, up to the moment that is shown.
  function went(context, { x, y, t }) {
    const end = view.clock === null ? places.length - 1 : Math.min(Math.round(view.clock / STEP), places.length - 1);
    const gone = places.slice(0, end + 1);
    const ink = colour("vermillion");
    line(context, gone.map(([kappa]) => [x(kappa), y(rate([kappa])[0])]), ink, 3);
    line(context, gone.map(([kappa], i) => [x(kappa), t(i * STEP)]), ink, 2.4);
    const [kappa] = gone.at(-1);
    for (const spot of [[x(kappa), y(rate([kappa])[0])], [x(kappa), t(end * STEP)]]) dot(context, spot, 4, ink);
    dot(context, [x(view.start), y(0)], 7, ink);
  }

  function dot(context, [x, y], size, ink) {
    context.beginPath();
    context.arc(x, y, size, 0, 2 * Math.PI);
    context.fillStyle = ink;
    context.fill();
    context.strokeStyle = colour("paper");
    context.lineWidth = 1.2;
    context.stroke();
  }

  const hint = "Drag the start along the line; it runs when let go. Keys: arrows move it, Enter runs it.";

  function tell() {
    const span = axis.high - axis.low;
    const end = places.at(-1);
    const moves = Math.hypot(...rate(end)) < 1e-3 * now.fastest ? "" : ", still moving";
    const parts = [`from ${within(view.start, span)}`, `at first ${words(rate([view.start])[0], 2)} per ${data.unit}`];
    parts.push(`to ${within(end[0], span)} in ${words((places.length - 1) * STEP, 2)} ${data.unit}${moves}`);
    if (data.output) parts.push(`where the ${data.output.name} is ${within(output(end), data.output.high)}`);
    box.said.textContent = `${axis.name} goes ${parts.join(", ")}.`;
  }

  function change(some) {
    Object.assign(view, some);
    given.show();
    if ("value" in some || "slide" in some) set();
    if (!("clock" in some)) {
      cancelAnimationFrame(running);
      view.clock = null;
      places = path([view.start]);
      tell();
    }
    box.redraw();
  }

  // Two seconds from the start to the end.
  function run() {
    cancelAnimationFrame(running);
    if (still.matches) return;
    const last = (places.length - 1) * STEP;
    let begun = null;
    const next = (moment) => {
      begun ??= moment;
      const clock = (last * (moment - begun)) / 2000;
      change({ clock: clock < last ? clock : null });
      if (clock < last) running = requestAnimationFrame(next);
    };
    running = requestAnimationFrame(next);
  }

  const box = stage(figure, `${data.title}. ${hint}`, draw, (width) => Math.min(Math.max(0.6 * width, 330), 460));
  const given = inputs(change);
  box.controls.append(...given.parts, button("Run", run), key());
  box.said.after(element("p", { class: "hint" }, hint));

  const drag = (event) => {
    const kappa = lens(box.size).kappa(place(box.canvas, event)[0]);
    change({ start: Math.min(Math.max(kappa, axis.low), axis.high) });
  };
  let dragged = false;
  box.canvas.addEventListener("pointerdown", (event) => {
    dragged = true;
    box.canvas.setPointerCapture(event.pointerId);
    drag(event);
  });
  box.canvas.addEventListener("pointermove", (event) => dragged && drag(event));
  box.canvas.addEventListener("pointerup", () => {
    dragged = false;
    run();
  });
  box.canvas.addEventListener("pointercancel", () => (dragged = false));
  box.canvas.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: -1, ArrowRight: 1 };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (ways[event.key]) {
      event.preventDefault();
      const kappa = view.start + (ways[event.key] * (axis.high - axis.low)) / 40;
      change({ start: Math.min(Math.max(kappa, axis.low), axis.high) });
    }
    if (event.key === "Enter") run();
  });
  change({ value: view.value });
};
