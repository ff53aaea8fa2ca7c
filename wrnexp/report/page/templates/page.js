"use strict";
(() => {
  // Charts scale with the page's font size, which is larger on large screens.
  const scale = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16, fontSize = 12 * scale;
  const CONFIG = {
    background: null,
    // The drawing is hidden from screen readers, which read the caption and the table instead.
    aria: false,
    mark: { aria: false },
    font: "system-ui, sans-serif",
    padding: 4,
    view: { stroke: null },
    axis: { aria: false, labelFontSize: fontSize, titleFontSize: fontSize, titleFontWeight: "normal", labelLimit: 220, labelOverlap: true },
    legend: { aria: false, labelFontSize: fontSize, titleFontSize: fontSize, titleFontWeight: "normal", labelLimit: 400 },
  };
  const NARROW = 560;
  const vegaErrors = 1, vegaWarnings = 2;

  const status = document.getElementById("status");
  const say = (text) => { status.textContent = text; };

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.plot = figure.querySelector(".plot");
      this.parts = JSON.parse(figure.querySelector("script").textContent);
      this.variant = 0;
      this.drawn = null;
      this.connect();
    }

    element(name) { return this.figure.querySelector("." + name); }
    on(name, event, act) { const element = this.element(name); if (element) element.addEventListener(event, act); }
    boxes() { return [...this.figure.querySelectorAll("input.arm")]; }
    get spec() { return this.parts.variants[this.variant].spec; }
    get rows() { return this.spec.data.values; }
    param(name) { return (this.spec.params || []).find((param) => param.name === name); }

    connect() {
      this.on("variant", "change", (event) => { this.variant = Number(event.target.value); this.limits(); this.draw(); });
      this.on("log", "change", () => this.draw());
      this.on("from", "change", () => this.zoom());
      this.on("to", "change", () => this.zoom());
      this.on("whole", "click", () => { this.limits(true); this.zoom(); });
      this.on("csv", "click", () => this.download());
      this.on("all", "click", () => this.tick(true));
      this.on("none", "click", () => this.tick(false));
      this.boxes().forEach((box) => box.addEventListener("change", () => this.show()));
      this.on("rows", "toggle", () => this.tabulate());
      if (this.parts.zoom) this.drag();
      this.limits(true);
    }

    /* Sets the range fields to the range of the data, if reset or outside of it. */
    limits(reset) {
      if (!this.parts.zoom) return;
      for (const name of ["from", "to"]) {
        const field = this.element(name), low = this.param("from").value, high = this.param("to").value;
        field.min = low;
        field.max = high;
        if (reset || field.value === "" || Number(field.value) < low || Number(field.value) > high) {
          field.value = this.param(name).value;
        }
      }
    }

    /* The specification with the settings of the controls applied. */
    current(narrow) {
      const spec = structuredClone(this.spec), log = this.element("log");
      spec.height *= scale;
      // On narrow screens, labels have one line per setting, so that none is cut off.
      const lines = { labelExpr: "split(datum.label, ', ')", labelFontSize: 10, labelLineHeight: 11 };
      for (const layer of spec.layer || []) {
        const up = layer.encoding.y;
        if (narrow && up && up.type === "nominal") up.axis = { ...up.axis, ...lines };
        for (const [name, channel] of Object.entries(layer.encoding)) {
          if (log && log.checked && name === log.value && channel.type === "quantitative") {
            channel.scale = { ...channel.scale, type: "log" };
            delete channel.scale.zero;
          }
        }
      }
      for (const param of spec.params || []) {
        if (param.name === "shown") param.value = this.shown();
        else param.value = Number(this.element(param.name).value);
      }
      if (log && log.checked) {
        const field = log.value === "y" ? "mean" : "seconds" in (this.rows[0] || {}) ? "seconds" : "cost";
        const positive = log.value === "y" ? `datum.low > 0` : `!isValid(datum.${field}) || datum.${field} > 0`;
        spec.transform = [...(spec.transform || []), { filter: positive }];
      }
      return spec;
    }

    shown() { return this.boxes().length ? this.boxes().filter((box) => box.checked).map((box) => box.value) : this.param("shown").value; }

    async draw() {
      const turn = (this.turn = (this.turn || 0) + 1);
      const narrow = this.plot.clientWidth < NARROW;
      const axis = { ...CONFIG.axis, labelLimit: narrow ? 110 : 300 * scale };
      const legend = { ...CONFIG.legend, columns: narrow ? 1 : undefined };
      const logLevel = this.spec.params && !this.shown().length ? vegaErrors : vegaWarnings;
      const options = { logLevel, renderer: "svg", actions: false, config: { ...CONFIG, axis, axisX: { tickCount: narrow ? 4 : 8 }, legend } };
      const drawn = await vegaEmbed(this.plot, this.current(narrow), { ...options, tooltip: { disableDefaultStyle: true } });
      drawn.view.logLevel(vegaErrors); // Vega warns about empty axes when no arm is selected
      if (turn !== this.turn) return;
      this.drawn = drawn;
      this.narrow = narrow;
      const open = this.figure.querySelector("details.rows");
      if (open && open.open) this.tabulate();
    }

    async set(values) {
      if (!this.drawn) return;
      for (const [name, value] of Object.entries(values)) this.drawn.view.signal(name, value);
      await this.drawn.view.runAsync();
    }

    tick(value) {
      this.boxes().forEach((box) => { box.checked = value; });
      this.show();
    }

    show() {
      this.set({ shown: this.shown() });
      say(`${this.shown().length} of ${this.boxes().length} arms shown`);
    }

    zoom() {
      const [from, to] = ["from", "to"].map((name) => Number(this.element(name).value));
      this.set({ from: Math.min(from, to), to: Math.max(from, to) });
      say(`${this.parts.zoom} ${Math.min(from, to)} to ${Math.max(from, to)} shown`);
    }

    /* Dragging across the plot sets the range, like the two fields. */
    drag() {
      let start = null;
      const band = document.createElement("div");
      band.className = "band";
      const across = (event) => event.clientX - this.plot.getBoundingClientRect().left;
      this.plot.addEventListener("pointerdown", (event) => {
        if (!this.drawn || event.button || event.pointerType === "touch") return;
        start = across(event);
        event.preventDefault();
      });
      window.addEventListener("pointermove", (event) => {
        if (start === null) return;
        const [left, right] = [start, across(event)].sort((a, b) => a - b);
        band.style.left = `${left}px`;
        band.style.width = `${right - left}px`;
        this.plot.append(band);
      });
      window.addEventListener("pointerup", (event) => {
        if (start === null) return;
        const ends = [start, across(event)].sort((a, b) => a - b);
        start = null;
        band.remove();
        if (ends[1] - ends[0] < 8) return;
        const scale = this.drawn.view.scale("x"), origin = this.drawn.view.origin()[0] + CONFIG.padding;
        const [from, to] = ends.map((end) => Math.round(scale.invert(end - origin)));
        const [low, high] = ["from", "to"].map((name) => this.param(name).value);
        this.element("from").value = Math.max(low, Math.min(from, high));
        this.element("to").value = Math.max(low, Math.min(to, high));
        this.zoom();
      });
    }

    /* Columns and rows of the selected view, for all arms and the whole range. */
    cells() {
      const columns = [...new Set(this.rows.flatMap((row) => Object.keys(row)))].filter((name) => !["text", "dark", "shown"].includes(name));
      return [columns, ...this.rows.map((row) => columns.map((name) => row[name] ?? ""))];
    }

    download() {
      const quoted = (value) => {
        // Cells that a spreadsheet would evaluate as formulas are turned into text.
        const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
        return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
      };
      const text = this.cells().map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
      link.download = `${this.parts.name}${this.parts.variants.length > 1 ? `-${this.variant + 1}` : ""}.csv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      say(`${link.download} saved`);
    }

    tabulate() {
      const container = this.figure.querySelector("details.rows .scroll");
      if (!this.figure.querySelector("details.rows").open) return;
      const [columns, ...rows] = this.cells();
      const table = document.createElement("table");
      table.createCaption().textContent = `${this.parts.title}: ${this.parts.variants[this.variant].name}`;
      const head = table.createTHead().insertRow();
      for (const name of columns) {
        const cell = document.createElement("th");
        cell.scope = "col";
        cell.textContent = name;
        head.append(cell);
      }
      const body = table.createTBody();
      for (const row of rows) {
        const line = body.insertRow();
        row.forEach((value) => { line.insertCell().textContent = String(value); });
      }
      container.replaceChildren(table);
    }
  }

  const charts = [...document.querySelectorAll("figure.chart")].map((figure) => new Chart(figure));
  for (const chart of charts) chart.figure.chart = chart;

  /* Charts are drawn when they are near the viewport, the others one by one after the page has loaded. */
  const draw = (chart) => chart.started || (chart.started = chart.draw());
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) draw(entry.target.chart);
  }, { rootMargin: "300px" });
  for (const chart of charts) near.observe(chart.figure);
  const idle = window.requestIdleCallback || ((act) => setTimeout(act, 50));
  const rest = async () => {
    const next = charts.find((chart) => !chart.started);
    if (next) await draw(next);
    if (charts.some((chart) => !chart.started)) idle(rest);
    else { await Promise.all(charts.map((chart) => chart.started)); document.documentElement.dataset.charts = "drawn"; }
  };
  window.addEventListener("load", () => idle(rest));

  let waiting;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      for (const chart of charts) if (chart.drawn && (chart.plot.clientWidth < NARROW) !== chart.narrow) chart.draw();
    }, 200);
  });

  const theme = document.getElementById("theme"), key = "wrnexp-theme";
  const remember = (act) => { try { return act(window.localStorage); } catch { return null; } };
  const paint = (name) => {
    if (name) document.documentElement.dataset.theme = name;
    else delete document.documentElement.dataset.theme;
  };
  theme.value = remember((store) => store.getItem(key)) || "";
  paint(theme.value);
  theme.addEventListener("change", () => {
    paint(theme.value);
    remember((store) => store.setItem(key, theme.value));
    say(`Colours: ${theme.selectedOptions[0].textContent}`);
  });
})();
