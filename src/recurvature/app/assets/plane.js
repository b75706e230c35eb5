// The plane of two latent variables: its flow under an input that a slider sets, and trajectories that a click starts.

const MOST_PATHS = 12;
const PINS = ["vermillion", "purple", "green", "orange", "blue"];

VIEWS.plane = (figure, data) => {
  const [across, up] = data.axes;
  const n = data.count;
  const view = { slide: 0, value: Math.floor(data.slides[0].values.length / 2), cursor: null, keyed: false };
  const { now, set, cell, rate, output, path, inputs, key } = flowing(data, view, crossings);
  const pinned = [];

  // Where both rates vanish, cell by cell, in the bilinear flow between the corners; types by its slopes there.
  function crossings(field) {
    const found = [];
    const side = [across, up].map((axis) => (axis.high - axis.low) / (n - 1));
    for (let i = 0; i < n - 1; i += 1) {
      for (let j = 0; j < n - 1; j += 1) {
        const [f, g] = [0, 1].map((k) => {
          const [a, b, c, d] = [[i, j], [i + 1, j], [i, j + 1], [i + 1, j + 1]].map(([p, q]) => field[(p * n + q) * 2 + k]);
          return Math.min(a, b, c, d) > 0 || Math.max(a, b, c, d) < 0 ? null : [a, b - a, c - a, a - b - c + d];
        });
        if (!f || !g) continue;
        let [s, t, one, two] = [0.5, 0.5, null, null];
        for (let step = 0; step < 12; step += 1) {
          [one, two] = [f, g].map(([a, b, c, d]) => [a + b * s + c * t + d * s * t, b + d * t, c + d * s]);
          const size = one[1] * two[2] - one[2] * two[1];
          [s, t] = [s - (one[0] * two[2] - two[0] * one[2]) / size, t - (one[1] * two[0] - two[1] * one[0]) / size];
        }
        if (![s, t].every((share) => share >= -1e-9 && share <= 1 + 1e-9)) continue;
        const place = [across.low + (i + s) * side[0], up.low + (j + t) * side[1]];
        // on an edge, of two cells
        if (found.some((other) => place.every((x, k) => Math.abs(x - other[k]) < 1e-6 * side[k]))) continue;
        const growing = one[1] / side[0] + two[2] / side[1] > 0;
        const type = one[1] * two[2] < one[2] * two[1] ? "saddle" : growing ? "repeller" : "stable";
        found.push([...place, type]);
      }
    }
    return found;
  }

  const edge = 34;

  function lens(size) {
    const side = Math.min(size.width - edge - 8, size.height - edge - 8);
    const left = (size.width - side + edge - 8) / 2;
    const to = ([x, y]) => [
      left + (side * (x - across.low)) / (across.high - across.low),
      8 + side * (1 - (y - up.low) / (up.high - up.low)),
    ];
    const from = ([a, b]) => [
      across.low + ((a - left) / side) * (across.high - across.low),
      up.low + (1 - (b - 8) / side) * (up.high - up.low),
    ];
    return { to, from, side, left };
  }

  function draw(context, size) {
    const { to, side, left } = lens(size);
    shade(context, left, side);
    frame(context, to, side, left);
    context.save();
    context.beginPath();
    context.rect(left, 8, side, side);
    context.clip();
    arrows(context, to, side);
    rests(context, to, 0, colour("blue"));
    rests(context, to, 1, colour("vermillion"));
    pinned.forEach((start, i) => trace(context, to, path(start), colour(PINS[i % PINS.length]), 2.4));
    if (view.cursor && cell(view.cursor)) trace(context, to, path(view.cursor), colour("ink"), 1.4);
    for (const [x, y, type] of now.points) rest(context, to([x, y]), type);
    if (view.keyed && view.cursor) cross(context, to(view.cursor));
    context.restore();
  }

  // What would be put out at every place, as a pale colour.
  function shade(context, left, side) {
    if (!data.output) return;
    const small = new OffscreenCanvas(n, n);
    const image = new ImageData(n, n);
    const paint = outputs(data.output);
    now.outputs.forEach((value, k) => {
      const [i, j] = [Math.floor(k / n), k % n];
      image.data.set([...paint(value), 70], 4 * ((n - 1 - j) * n + i));
    });
    small.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(small, 0.5, 0.5, n - 1, n - 1, left, 8, side, side);
  }

  function frame(context, to, side, left) {
    context.strokeStyle = colour("line");
    context.strokeRect(left, 8, side, side);
    const ink = colour("soft");
    for (const share of [0, 0.5, 1]) {
      const [x, y] = [across, up].map((axis) => axis.low + share * (axis.high - axis.low));
      text(context, words(x, 2), left + share * side, side + 20, ink, share === 1 ? "right" : share ? "center" : "left");
      text(context, words(y, 2), left - 6, 8 + (1 - share) * side + (share === 1 ? 6 : share ? 0 : -6), ink, "right");
    }
    text(context, across.name, left + 0.75 * side, side + 20, colour("ink"), "center");
    text(context, up.name, left - 8, 8 + 0.25 * side, colour("ink"), "right");
  }

  function arrows(context, to, side) {
    const most = now.fastest;
    const every = Math.ceil(n / 15);
    const longest = (0.8 * side * every) / n;
    context.strokeStyle = colour("soft");
    context.lineWidth = 1;
    for (let i = Math.floor(every / 2); i < n; i += every) {
      for (let j = Math.floor(every / 2); j < n; j += every) {
        const change = [0, 1].map((k) => now.field[(i * n + j) * 2 + k] * data.scale);
        const speed = Math.hypot(...change);
        if (!(speed > 1e-6 * most)) continue;
        const spot = [across, up].map((axis, k) => axis.low + ([i, j][k] / (n - 1)) * (axis.high - axis.low));
        const [x, y] = to(spot);
        const ahead = to(spot.map((s, k) => s + change[k]));
        const angle = Math.atan2(ahead[1] - y, ahead[0] - x);
        const length = longest * Math.sqrt(speed / most);
        const tip = [x + length * Math.cos(angle), y + length * Math.sin(angle)];
        context.beginPath();
        context.moveTo(x, y);
        context.lineTo(...tip);
        for (const turn of [2.6, -2.6]) {
          context.moveTo(...tip);
          context.lineTo(tip[0] + 4 * Math.cos(angle + turn), tip[1] + 4 * Math.sin(angle + turn));
        }
        context.stroke();
      }
    }
  }

  // Where one of the two variables rests: the zeros of its rate, cell by cell.
  function rests(context, to, k, ink) {
    const values = now.field;
    const of = (i, j) => values[(i * n + j) * 2 + k];
    const spot = (i, j) => to([across, up].map((axis, m) => axis.low + ([i, j][m] / (n - 1)) * (axis.high - axis.low)));
    context.strokeStyle = ink;
    context.lineWidth = 1.6;
    context.beginPath();
    for (let i = 0; i < n - 1; i += 1) {
      for (let j = 0; j < n - 1; j += 1) {
        const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
        const ends = [];
        corners.forEach((one, c) => {
          const two = corners[(c + 1) % 4];
          const [p, q] = [of(...one), of(...two)];
          if (p > 0 === q > 0) return;
          const [a, b] = [spot(...one), spot(...two)];
          ends.push(a.map((x, m) => x + (p / (p - q)) * (b[m] - x)));
        });
        for (let e = 0; e + 1 < ends.length; e += 2) {
          context.moveTo(...ends[e]);
          context.lineTo(...ends[e + 1]);
        }
      }
    }
    context.stroke();
  }

  function trace(context, to, places, ink, width) {
    context.beginPath();
    places.forEach((position) => context.lineTo(...to(position)));
    context.strokeStyle = ink;
    context.lineWidth = width;
    context.stroke();
    context.beginPath();
    context.arc(...to(places[0]), 3, 0, 2 * Math.PI);
    context.fillStyle = ink;
    context.fill();
  }

  function cross(context, [x, y]) {
    context.strokeStyle = colour("ink");
    context.lineWidth = 1;
    context.beginPath();
    for (const [a, b] of [[9, 0], [0, 9]]) {
      context.moveTo(x - a, y - b);
      context.lineTo(x + a, y + b);
    }
    context.stroke();
  }

  const hint = "Move over the plane to see where activity goes from there; click to keep the path. Keys: arrows move, Enter keeps, Escape clears.";

  function tell() {
    const change = view.cursor && rate(view.cursor);
    if (!change) {
      box.said.textContent = hint;
      return;
    }
    const end = path(view.cursor).at(-1);
    const spot = (position) => position.map((x, k) => within(x, [across, up][k].high - [across, up][k].low)).join(", ");
    const parts = [`from (${spot(view.cursor)})`, `at first ${words(Math.hypot(...change), 2)} per ${data.unit}`, `to (${spot(end)})`];
    if (data.output) parts.push(`where the ${data.output.name} is ${within(output(end), data.output.high)}`);
    box.said.textContent = parts.join(", ");
  }

  function change(some = {}) {
    Object.assign(view, some);
    given.show();
    if ("value" in some || "slide" in some) set();
    tell();
    box.redraw();
  }

  function keep() {
    if (!view.cursor || !cell(view.cursor)) return;
    pinned.push(view.cursor);
    if (pinned.length > MOST_PATHS) pinned.shift();
    change();
  }

  function clear() {
    pinned.length = 0;
    change({ cursor: null, keyed: false });
  }

  function move(event, direction) {
    event.preventDefault();
    const from = view.cursor ?? [across, up].map((axis) => (axis.low + axis.high) / 2);
    const to = [across, up].map((axis, k) => {
      const moved = from[k] + (direction[k] * (axis.high - axis.low)) / 40;
      return Math.min(Math.max(moved, axis.low), axis.high);
    });
    change({ cursor: to, keyed: true });
  }

  const box = stage(figure, `${data.title}. ${hint}`, draw, (width) => Math.min(0.95 * width, 520));
  const given = inputs(change);
  const marks = key();
  for (const [ink, axis] of [["blue", across], ["vermillion", up]]) marks.append(element("span", {}, element("i", { class: `dash ${ink}` }), ` ${axis.name} rests`));
  box.controls.append(...given.parts, button("Clear paths", clear), marks);

  const at = (event) => lens(box.size).from(place(box.canvas, event));
  box.canvas.addEventListener("pointermove", (event) => change({ cursor: at(event), keyed: false }));
  box.canvas.addEventListener("pointerleave", () => change({ cursor: null, keyed: false }));
  box.canvas.addEventListener("click", (event) => {
    change({ cursor: at(event), keyed: false });
    keep();
  });
  box.canvas.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (ways[event.key]) move(event, ways[event.key]);
    if (event.key === "Enter") keep();
    if (event.key === "Escape") clear();
  });
  change({ value: view.value });
};
