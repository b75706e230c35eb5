// The image of the inputs in three principal components through time: drag to turn, play, colour, read points.

VIEWS.sheet = (figure, data) => {
  const count = data.theta.length;
  const [rows, columns] = data.grid.length > 1 ? data.grid : [data.grid[0], 1];
  const colours = [...data.coordinates.map((one, i) => ({ ...one, of: (t, p) => data.theta[p][i] }))];
  if (data.output) colours.push({ ...data.output, of: (t, p) => part(data.output.values, t * count + p, data.output.scale) });
  const start = { yaw: -0.7, pitch: 0.5, zoom: 1 };
  const view = { ...start, moment: data.time.length - 1, painted: data.output ? colours.length - 1 : 0, fit: false, point: null };
  let drag = null;
  let playing = null;

  function part(values, i, scale) {
    return values[i] === null ? null : values[i] * scale;
  }

  function at(moment, point) {
    const i = 3 * (moment * count + point);
    return data.position[i] === null ? null : [0, 1, 2].map((k) => data.position[i + k] * data.scale);
  }

  // How far to the side and how far up each moment reaches, whatever the turn about the vertical.
  const reach = data.time.map((_, t) => {
    const far = [0, 0];
    for (let p = 0; p < count; p += 1) {
      const x = at(t, p);
      if (!x) continue;
      const side = Math.hypot(x[0], x[1]);
      far[0] = Math.max(far[0], side);
      far[1] = Math.max(far[1], Math.abs(x[2]) * Math.cos(start.pitch) + side * Math.sin(start.pitch));
    }
    return far;
  });

  // From a position to the screen, and how near it is.
  function lens(size) {
    const [cy, sy, cp, sp] = [Math.cos(view.yaw), Math.sin(view.yaw), Math.cos(view.pitch), Math.sin(view.pitch)];
    const [wide, high] = [0, 1].map((k) => (view.fit ? reach[view.moment][k] : Math.max(...reach.map((far) => far[k]))) || 1);
    const scale = view.zoom * Math.min((0.46 * size.width) / wide, (0.42 * size.height) / high);
    const turn = ([x, y, z]) => {
      const side = x * cy - y * sy;
      const depth = x * sy + y * cy;
      return [side, z * cp - depth * sp, depth * cp + z * sp];
    };
    const project = (position) => {
      const [side, up, depth] = turn(position);
      return [size.width / 2 + scale * side, size.height / 2 - scale * up, depth];
    };
    return { turn, project };
  }

  // Neighbours along the grid: quads of a surface, or links of a curve.
  const [around, across] = data.coordinates.map((one) => one.periodic);
  const faces = [];
  for (let i = 0; i < rows - (around ? 0 : 1); i += 1) {
    const next = (i + 1) % rows;
    if (columns === 1) faces.push([i, next]);
    for (let j = 0; columns > 1 && j < columns - (across ? 0 : 1); j += 1) {
      const right = (j + 1) % columns;
      faces.push([i * columns + j, next * columns + j, next * columns + right, i * columns + right]);
    }
  }

  function share(point) {
    const { low, high, of } = colours[view.painted];
    const value = of(view.moment, point);
    return value === null ? 0.5 : (value - low) / (high - low || 1);
  }

  function draw(context, size) {
    const { turn, project } = lens(size);
    const paint = ramp(colours[view.painted].kind);
    const seen = Array.from({ length: count }, (_, p) => {
      const x = at(view.moment, p);
      return x && project(x);
    });
    const whole = faces.filter((face) => face.every((p) => seen[p]));
    const depth = (face) => face.reduce((sum, p) => sum + seen[p][2], 0) / face.length;
    context.lineJoin = "round";
    for (const face of whole.map((face) => [depth(face), face]).sort((a, b) => b[0] - a[0]).map(([, face]) => face)) {
      const middle = face.reduce((sum, p) => sum + share(p), 0) / face.length;
      const rgb = paint(middle);
      context.beginPath();
      face.forEach((p, k) => context[k ? "lineTo" : "moveTo"](seen[p][0], seen[p][1]));
      if (face.length > 2) {
        context.closePath();
        context.fillStyle = css(rgb, 0.86);
        context.fill();
        context.strokeStyle = css(channels(colour("ink")), 0.35);
        context.lineWidth = 0.7;
      } else {
        context.strokeStyle = css(rgb);
        context.lineWidth = 4;
      }
      context.stroke();
    }
    if (view.point !== null) trail(context, project, seen);
    axes(context, size, turn);
    text(context, `t = ${words(data.time[view.moment])} τ`, size.width - 12, 16, colour("ink"), "right");
  }

  // The way of one point through time, up to now.
  function trail(context, project, seen) {
    context.beginPath();
    for (let t = 0; t <= view.moment; t += 1) {
      const x = at(t, view.point);
      if (x) context.lineTo(...project(x).slice(0, 2));
    }
    context.strokeStyle = colour("ink");
    context.lineWidth = 1.6;
    context.stroke();
    if (!seen[view.point]) return;
    context.beginPath();
    context.arc(seen[view.point][0], seen[view.point][1], 5, 0, 2 * Math.PI);
    context.fillStyle = css(ramp(colours[view.painted].kind)(share(view.point)));
    context.fill();
    context.stroke();
  }

  function axes(context, size, turn) {
    const [x, y, length] = [64, size.height - 56, 30];
    data.variance.forEach((variance, k) => {
      const [side, up] = turn([0, 1, 2].map((i) => Number(i === k)));
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + length * side, y - length * up);
      context.strokeStyle = colour("soft");
      context.lineWidth = 1.2;
      context.stroke();
      text(context, `${k + 1}`, x + 1.35 * length * side, y - 1.35 * length * up, colour("soft"), "center");
    });
    const names = data.variance.map((variance, k) => `${k + 1}: ${words(variance && 100 * variance, 2)} %`);
    text(context, names.join("   "), 12, size.height - 12, colour("soft"));
  }

  const hint = "Drag to turn; move over a point to read it. Keys: arrows turn, + and − zoom, space plays, comma and full stop step through points.";

  function tell() {
    key.replaceChildren(...legend());
    if (view.point === null) {
      box.said.textContent = hint;
      return;
    }
    const parts = data.coordinates.map((one, i) => `${one.name} = ${words(data.theta[view.point][i])}${one.units}`);
    if (data.output) parts.push(`${data.output.name} ${words(colours.at(-1).of(view.moment, view.point))}`);
    box.said.textContent = parts.join(", ");
  }

  function legend() {
    const { name, units, low, high, kind } = colours[view.painted];
    const paint = ramp(kind);
    const bar = element("i", { class: "ramp" });
    bar.style.background = `linear-gradient(90deg,${Array.from({ length: 9 }, (_, i) => css(paint(i / 8))).join(",")})`;
    return [`${name} ${words(low)}`, bar, `${words(high)}${units}`];
  }

  function change(some) {
    Object.assign(view, some);
    time.value = view.moment;
    clock.textContent = `t = ${words(data.time[view.moment])} τ`;
    tell();
    box.redraw();
  }

  function play() {
    if (playing !== null) {
      clearInterval(playing);
      playing = null;
    } else {
      if (view.moment === data.time.length - 1) change({ moment: 0 });
      playing = setInterval(() => {
        change({ moment: view.moment + 1 });
        if (view.moment === data.time.length - 1) play();
      }, 80);
    }
    run.textContent = playing === null ? "Play" : "Pause";
  }

  function nearest([x, y]) {
    const { project } = lens(box.size);
    let best = [null, 16];
    for (let p = 0; p < count; p += 1) {
      const position = at(view.moment, p);
      if (!position) continue;
      const [a, b] = project(position);
      const off = Math.hypot(a - x, b - y);
      if (off < best[1]) best = [p, off];
    }
    return best[0];
  }

  const box = stage(figure, `${data.title}, in three dimensions. ${hint}`, draw, (width) => Math.min((width < 500 ? 0.9 : 0.62) * width, 520));
  const run = button("Play", play);
  const time = slider(data.time.length, view.moment, (moment) => change({ moment }));
  const clock = element("span", { class: "clock" });
  const key = element("span", { class: "key" });
  const fit = button("Fit each moment", () => {
    change({ fit: !view.fit });
    fit.setAttribute("aria-pressed", view.fit);
  });
  fit.setAttribute("aria-pressed", false);
  time.setAttribute("aria-label", "time");
  const painted = choice(colours.map((one) => one.name), (i) => change({ painted: i }));
  painted.value = view.painted;
  box.controls.append(run, time, clock, labelled("Colour", painted), fit, button("Reset", () => change(start)), key);

  box.canvas.addEventListener("pointerdown", (event) => {
    drag = place(box.canvas, event);
    change({ point: nearest(drag) }); // a finger does not hover
    box.canvas.setPointerCapture(event.pointerId);
  });
  box.canvas.addEventListener("pointermove", (event) => {
    const now = place(box.canvas, event);
    if (drag === null) {
      const point = nearest(now);
      if (point !== view.point) change({ point });
      return;
    }
    const pitch = Math.min(Math.max(view.pitch + (now[1] - drag[1]) / 150, -1.57), 1.57);
    change({ yaw: view.yaw + (now[0] - drag[0]) / 150, pitch });
    drag = now;
  });
  for (const name of ["pointerup", "pointercancel"]) box.canvas.addEventListener(name, () => (drag = null));
  box.canvas.addEventListener("pointerleave", () => drag === null && change({ point: null }));
  box.canvas.addEventListener("keydown", (event) => {
    const step = (by) => ({ point: view.point === null ? 0 : (view.point + by + count) % count });
    const keys = {
      ArrowLeft: () => ({ yaw: view.yaw - 0.1 }),
      ArrowRight: () => ({ yaw: view.yaw + 0.1 }),
      ArrowUp: () => ({ pitch: Math.max(view.pitch - 0.1, -1.57) }),
      ArrowDown: () => ({ pitch: Math.min(view.pitch + 0.1, 1.57) }),
      "+": () => ({ zoom: Math.min(view.zoom * 1.15, 8) }),
      "-": () => ({ zoom: Math.max(view.zoom / 1.15, 0.2) }),
      ".": () => step(1),
      ",": () => step(-1),
      Escape: () => ({ point: null }),
      " ": () => (play(), {}),
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    change(keys[event.key]());
  });
  change({});
};
