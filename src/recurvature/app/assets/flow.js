// What the line and the plane of latent variables share: tables of a flow, inputs that a slider sets, and paths in it.

const STEP = 0.05; // of a path, in units of time; the flow is smooth on the scale of its grid
const LONGEST = 40;
const FINE = 8; // places of the slider from one tabulated input to the next

// The flow under the input that `view` is at. Between tabulated inputs tables are mixed, and `rests` reads zeros off them.
function flowing(data, view, rests) {
  const n = data.count;
  const wide = data.axes.length;
  const now = { field: [], outputs: null, points: [], mixed: false, fastest: 1 };
  const slide = () => data.slides[view.slide];

  function input() {
    const { values } = slide();
    const low = Math.max(0, Math.min(Math.floor(view.value), values.length - 2));
    return { low, share: view.value - low, values };
  }

  function set() {
    const { low, share } = input();
    const mix = (tables) => (share ? tables[low].map((x, i) => (1 - share) * x + share * tables[low + 1][i]) : tables[low]);
    now.field = mix(slide().fields);
    now.outputs = data.output && mix(slide().outputs);
    now.mixed = !Number.isInteger(view.value);
    now.points = now.mixed ? rests(now.field) : slide().points[view.value];
    let most = 0;
    for (let i = 0; i < now.field.length; i += wide) most = Math.max(most, Math.hypot(...now.field.slice(i, i + wide)));
    now.fastest = most * data.scale || 1;
  }

  // The place of a position on the grid, from 0 to n - 1 along each axis; null outside.
  function cell(position) {
    const at = position.map((x, k) => ((x - data.axes[k].low) / (data.axes[k].high - data.axes[k].low)) * (n - 1));
    return at.every((a) => a >= 0 && a <= n - 1) ? at : null;
  }

  // Linear along each axis in a table of `width` numbers to a point, the first axis slowest.
  function between(values, width, k, at) {
    let sum = 0;
    for (let corner = 0; corner < 2 ** wide; corner += 1) {
      let [place, weight] = [0, 1];
      for (let axis = 0; axis < wide; axis += 1) {
        const low = Math.min(Math.floor(at[axis]), n - 2);
        const up = (corner >> axis) & 1;
        place = place * n + low + up;
        weight *= up ? at[axis] - low : 1 - at[axis] + low;
      }
      sum += weight * values[place * width + k];
    }
    return sum;
  }

  function rate(position) {
    const at = cell(position);
    return at && data.axes.map((_, k) => between(now.field, wide, k, at) * data.scale);
  }

  function output(position) {
    const at = data.output && cell(position);
    return at ? between(now.outputs, 1, 0, at) * data.output.scale : null;
  }

  // Runge and Kutta's fourth order in the flow between the points of the table, until it rests or leaves.
  function path(start) {
    const places = [start];
    let at = start;
    for (let time = 0; time < LONGEST; time += STEP) {
      const stages = [];
      for (const share of [0, 0.5, 0.5, 1]) {
        const last = stages.at(-1);
        const change = rate(last ? at.map((x, i) => x + share * STEP * last[i]) : at);
        if (!change) return places;
        stages.push(change);
      }
      at = at.map((x, i) => x + (STEP / 6) * (stages[0][i] + 2 * stages[1][i] + 2 * stages[2][i] + stages[3][i]));
      places.push(at);
      if (Math.hypot(...stages[0]) < 1e-4 * now.fastest) return places;
    }
    return places;
  }

  // The slider of inputs and what stands beside it; `change` takes what of the view is to change.
  function inputs(change) {
    const which = choice(data.slides.map((one) => one.title), (i) => change({ slide: i }));
    const given = element("span", { class: "clock" });
    const ticks = element("datalist", { id: `ticks-${document.querySelectorAll("datalist").length}` });
    const bar = slider(1, 0, (value) => change({ value }));
    bar.step = 1 / FINE;
    bar.setAttribute("list", ticks.id);
    const show = () => {
      const last = slide().values.length - 1;
      if (ticks.children.length !== last + 1) ticks.replaceChildren(...slide().values.map((_, value) => element("option", { value })));
      bar.max = last;
      view.value = Math.min(view.value, last);
      bar.value = view.value;
      bar.setAttribute("aria-label", slide().name);
      const { low, share, values } = input();
      const value = share ? (1 - share) * values[low] + share * values[low + 1] : values[low];
      given.textContent = `${slide().name} = ${words(value)}${share && share < 1 ? ", interpolated" : ""}`;
    };
    return { parts: [...(data.slides.length > 1 ? [labelled("Vary", which)] : []), bar, ticks, given], show };
  }

  const kinds = wide > 1 ? [["stable", "stable"], ["saddle", "saddle"], ["other", "unstable"]] : [["stable", "stable"], ["other", "unstable"]];
  const key = () => element("span", { class: "key" }, ...kinds.map(([type, name]) => element("span", {}, element("i", { class: `dot ${type}` }), ` ${name}`)));
  return { now, set, slide, cell, rate, output, path, inputs, key };
}

// A fixed point by its type.
function rest(context, [x, y], type) {
  context.beginPath();
  if (type === "saddle") [[0, -7], [7, 0], [0, 7], [-7, 0]].forEach(([a, b]) => context.lineTo(x + a, y + b));
  else context.arc(x, y, 6, 0, 2 * Math.PI);
  context.closePath();
  context.fillStyle = { stable: colour("green"), saddle: colour("orange") }[type] ?? colour("paper");
  context.fill();
  context.strokeStyle = colour("ink");
  context.lineWidth = 1.2;
  context.stroke();
}

// A function from what is put out to a colour.
function outputs(output) {
  const paint = ramp("signed");
  const most = Math.max(Math.abs(output.low), Math.abs(output.high)) || 1;
  return (value) => paint(0.5 + (0.5 * value * output.scale) / most);
}
