"use strict";
// What the page of a report does besides being read: search, keyboard, light or dark, and a timeline that can be zoomed.
// Texts of the run become text nodes and pixels only: nothing here makes markup of them.
(() => {
  const data = JSON.parse(byId("data").textContent);

  // Light or dark, where it is to be another than that of the system.
  const isDark = () => (document.documentElement.dataset.theme
    || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const redraws = [];
  const turn = () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    redraws.forEach((redraw) => redraw());
  };

  // Search: what does not have the words is hidden, in tables, plans, facts and the timeline alike, and dimmed in the DAG.
  const textOf = (...parts) => parts.map((part) => part.textContent).join(" ").toLowerCase();
  const hide = (part, hidden) => part.classList.toggle("hidden", hidden);
  // A part that folds is found by the line that says of what it is, and then shown whole, or else by what is in it.
  const folds = [...document.querySelectorAll("details")].map((element) => {
    const title = textOf(element.querySelector("summary"));
    const row = (row) => ({ parts: [row], text: `${title} ${textOf(row)}` });
    return { element, title, text: textOf(element), rows: [...element.querySelectorAll("tbody tr")].map(row) };
  });
  const units = [...document.querySelectorAll("tbody tr, figure")].filter((element) => !element.closest("details"))
    .map((element) => ({ parts: [element], text: textOf(element) }));
  for (const term of document.querySelectorAll("dl.facts dt")) {
    const value = term.nextElementSibling;
    units.push({ parts: [term, value], text: textOf(term, value) });
  }
  const boxes = [...document.querySelectorAll(".dag g.node")].map((element) => ({ element, text: textOf(element) }));
  const tables = [...document.querySelectorAll("main .scroll")];
  const sections = [...document.querySelectorAll("main section")];
  // Bars of the timeline, each with its text, as soon as there are any.
  const bars = [];
  let words = [];
  const has = (text) => words.every((word) => text.includes(word));
  const field = make("input", { type: "search", placeholder: "search ( / )", ariaLabel: "search", spellcheck: false });
  const found = make("span", { className: "found" });
  const show = (unit) => {
    const matches = has(unit.text);
    unit.parts.forEach((part) => hide(part, !matches));
    return matches;
  };
  const showFold = (fold) => {
    const isWhole = has(fold.title);
    let count = 0;
    for (const row of fold.rows) {
      if (isWhole) row.parts.forEach((part) => hide(part, false));
      else count += show(row);
    }
    // What has no rows is one text, such as that of an error.
    if (isWhole || (fold.rows.length === 0 && has(fold.text))) count = 1;
    hide(fold.element, count === 0);
    // What is found is seen, and folded again afterwards.
    if (words.length && count) {
      fold.wasOpen ??= fold.element.open;
      fold.element.open = true;
    } else if (fold.wasOpen !== undefined) {
      fold.element.open = fold.wasOpen;
      fold.wasOpen = undefined;
    }
    return count;
  };
  const search = () => {
    words = field.value.toLowerCase().split(/\s+/).filter((word) => word);
    const count = (things, shows) => things.reduce((sum, thing) => sum + shows(thing), 0);
    const total = count(units, show) + count(folds, showFold);
    for (const box of boxes) box.element.classList.toggle("dim", !has(box.text));
    // A drawing is larger than what is seen of it. It is moved, and not the page, in which somebody types.
    const first = words.length ? boxes.find((box) => has(box.text)) : undefined;
    if (first) {
      const dag = first.element.closest(".dag");
      const { x, y, width: wide, height: high } = first.element.getBBox();
      dag.scrollTo(x + wide / 2 - dag.clientWidth / 2, y + high / 2 - dag.clientHeight / 2);
    }
    // A heading stands only above something.
    const isSeen = (element) => !element.closest(".hidden");
    for (const table of tables) {
      hide(table, words.length > 0 && ![...table.querySelectorAll("tbody tr")].some((row) => !row.classList.contains("hidden")));
    }
    const lit = words.length ? count(bars, (bar) => has(bar.text)) : 0;
    const inDag = count(boxes, (box) => has(box.text));
    for (const section of sections) {
      hide(section, false);
      const hasDrawing = section.querySelector("#timeline") && (lit > 0 || inDag > 0);
      const things = [...section.querySelectorAll("tbody tr, details, figure, dl.facts dd")];
      hide(section, words.length > 0 && !hasDrawing && !things.some(isSeen));
    }
    const inTimeline = bars.length ? `, ${lit} in the timeline` : "";
    found.textContent = words.length ? `${total} found${inTimeline}` : "";
    redraws.forEach((redraw) => redraw());
  };
  field.addEventListener("input", search);
  const find = (text) => {
    field.value = text;
    search();
  };
  byId("tools").append(field, found,
    make("button", { type: "button", title: "light or dark ( t )", onclick: turn }, "◐"),
    make("button", { type: "button", title: "print", onclick: () => print() }, "print"),
    make("span", { className: "found keys" }, "keys: / search, Esc all again, j and k next and previous section, t light or dark"));
  for (const { element } of boxes) {
    element.addEventListener("click", () => find(element.dataset.name));
    element.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      find(element.dataset.name);
    });
  }
  // What is printed is whole, and on the screen all is as before when it has been.
  let printed = null;
  addEventListener("beforeprint", () => {
    printed ??= { sought: field.value, folded: null };
    find("");
    printed.folded ??= folds.filter((fold) => !fold.element.open);
    printed.folded.forEach((fold) => { fold.element.open = true; });
  });
  addEventListener("afterprint", () => {
    if (!printed) return;
    printed.folded.forEach((fold) => { fold.element.open = false; });
    find(printed.sought);
    printed = null;
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      find("");
      field.blur();
    } else if (event.target !== field && event.key === "/") {
      event.preventDefault();
      field.focus();
    } else if (event.target !== field && event.key === "t") {
      turn();
    } else if (event.target !== field && (event.key === "j" || event.key === "k")) {
      const headings = [...document.querySelectorAll("h1, h2")].filter((heading) => !heading.closest(".hidden"));
      const tops = headings.map((heading) => heading.getBoundingClientRect().top);
      const next = event.key === "j" ? tops.findIndex((top) => top > 30) : tops.findLastIndex((top) => -5 > top);
      if (next >= 0) headings[next].scrollIntoView();
    }
  });

  // The timeline: bars, and bands of what is not drawn one by one, each in a lane.
  const LANE = 16;
  const FAILED = 2;
  for (const [lane, name, node, start, time, state] of data.bars) {
    bars.push({ lane, name, node, start, time, state, text: `${name} ${node || ""}`.toLowerCase() });
  }
  if (bars.length === 0 && data.bands.length === 0) return;
  const heads = data.heads.map(([title, lane]) => ({ title, lane }));
  const lanes = data.lanes;
  const counted = (count) => count.toLocaleString("en-US");
  // A band is not found by a search, because it is of many.
  const bands = data.bands.map(([lane, start, time, count, failed, longest]) => {
    const of = heads.findLast((head) => lane > head.lane).title;
    const name = `${of}: ${counted(count)}`;
    return { lane, start, time, name, failed, longest, text: "", state: failed ? FAILED : 0, isBand: true };
  });
  const drawn = [...bars, ...bands];
  const whole = drawn.reduce((end, bar) => Math.max(end, bar.start + bar.time), Math.max(data.duration, 0.001));
  const canvas = make("canvas");
  const box = make("div", { className: "lanes", tabIndex: 0, ariaLabel: "timeline" },
    canvas, make("div", { className: "room" }));
  const tip = make("div", { className: "tip hidden" });
  const scale = make("span", { className: "found" });
  let from = 0;
  let span = whole;
  const time = (ms) => (ms >= 60000 ? `${(ms / 60000).toFixed(1)} min` : ms >= 1000 ? `${(ms / 1000).toFixed(2)} s`
    : ms >= 1 ? `${ms.toFixed(1)} ms` : `${(ms * 1000).toFixed(0)} µs`);
  const height = Math.min(lanes * LANE + 4, 420);
  box.style.height = `${height}px`;
  box.lastChild.style.height = `${Math.max(0, lanes * LANE + 4 - height)}px`;

  let waits = false;
  const draw = () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => {
      waits = false;
      paint();
    });
  };
  const paint = () => {
    const width = box.clientWidth;
    const ratio = devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const colours = [colour("--bar"), colour("--path"), colour("--bad"), colour("--warning")];
    const [text, muted, line] = [colour("--text"), colour("--muted"), colour("--line")];
    // Only the plain bars are as light as the page, or as dark.
    const inBars = [text, colour("--ground"), colour("--ground"), colour("--ground")];
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    const top = box.scrollTop;
    pen.fillStyle = line;
    for (let tick = 0; 10 >= tick; tick += 1) pen.fillRect(Math.round(width * tick / 10), 0, 1, height);
    pen.fillStyle = muted;
    for (const head of heads) pen.fillText(head.title, 2, head.lane * LANE - top + LANE / 2);
    // Up to which pixel each lane is painted.
    const painted = new Float64Array(lanes).fill(-1);
    for (const bar of drawn) {
      const y = bar.lane * LANE - top;
      if (y > height || -LANE > y) continue;
      const left = (bar.start - from) / span * width;
      const right = (bar.start + bar.time - from) / span * width;
      if (left > width || 0 > right) continue;
      const x = Math.floor(Math.max(left, 0));
      const end = Math.max(Math.ceil(Math.min(right, width)), x + 1);
      // What is within pixels that are painted is not seen, unless it failed.
      if (painted[bar.lane] >= end && bar.state !== FAILED) continue;
      painted[bar.lane] = Math.max(painted[bar.lane], end);
      const wide = end - x;
      pen.globalAlpha = has(bar.text) ? (bar.isBand ? 0.55 : 1) : 0.15;
      pen.fillStyle = colours[bar.state];
      pen.fillRect(x, y + 2, wide > 3 ? wide - 0.5 : wide, LANE - 4);
      if (wide > 30) {
        pen.save();
        pen.beginPath();
        pen.rect(x, y, wide - 3, LANE);
        pen.clip();
        pen.globalAlpha = has(bar.text) ? 1 : 0.15;
        pen.fillStyle = bar.isBand ? text : inBars[bar.state];
        pen.fillText(bar.name.slice(0, Math.ceil(wide / 4)), x + 3, y + LANE / 2 + 0.5);
        pen.restore();
      }
      pen.globalAlpha = 1;
    }
    scale.textContent = `${time(from)} to ${time(from + span)}`;
  };
  const zoom = (factor, at = 0.5) => {
    const middle = from + span * at;
    span = Math.min(whole, Math.max(span * factor, whole / 1e6));
    from = Math.min(Math.max(0, middle - span * at), whole - span);
    draw();
  };
  const move = (part) => {
    from = Math.min(Math.max(0, from + span * part), whole - span);
    draw();
  };
  const barAt = (event) => {
    const area = box.getBoundingClientRect();
    const lane = Math.floor((event.clientY - area.top + box.scrollTop) / LANE);
    const at = from + (event.clientX - area.left) / box.clientWidth * span;
    const slack = span / box.clientWidth * 2;
    return drawn.find((bar) => bar.lane === lane && at + slack >= bar.start && bar.start + bar.time + slack >= at);
  };
  let held = null;
  box.addEventListener("pointerdown", (event) => { held = { x: event.clientX, moved: false }; });
  addEventListener("pointerup", () => { held = null; });
  box.addEventListener("pointermove", (event) => {
    if (held) {
      held.moved = held.moved || Math.abs(event.clientX - held.x) > 3;
      move((held.x - event.clientX) / box.clientWidth);
      held.x = event.clientX;
    }
    const bar = barAt(event);
    tip.classList.toggle("hidden", !bar);
    if (!bar) return;
    const node = bar.node && bar.node !== bar.name ? ` in ${bar.node}` : "";
    const failed = bar.failed ? `, ${counted(bar.failed)} of them failed` : "";
    const each = bar.isBand ? ` of at most ${time(bar.longest)}${failed}` : "";
    tip.textContent = `${bar.name}${node}${each}: ${time(bar.time)}, from ${time(bar.start)} on`;
    tip.style.left = `${Math.min(event.clientX + 12, innerWidth - 320)}px`;
    tip.style.top = `${event.clientY + 14}px`;
  });
  box.addEventListener("pointerleave", () => tip.classList.add("hidden"));
  box.addEventListener("dblclick", (event) => {
    const bar = barAt(event);
    if (!bar) return zoom(0.5);
    span = Math.min(whole, Math.max(bar.time * 1.2, whole / 1e6));
    from = Math.min(Math.max(0, bar.start - bar.time * 0.1), whole - span);
    return draw();
  });
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return;
    event.preventDefault();
    const area = box.getBoundingClientRect();
    zoom((event.deltaY || event.deltaX) > 0 ? 1.25 : 0.8, (event.clientX - area.left) / box.clientWidth);
  }, { passive: false });
  const keys = {
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => zoom(1e9),
    ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2),
  };
  box.addEventListener("keydown", (event) => {
    if (!Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  box.addEventListener("scroll", draw);
  addEventListener("resize", draw);
  redraws.push(draw);
  const crowded = data.bands.reduce((sum, [, , , count]) => sum + count, 0);
  const button = (label, title, act) => make("button", { type: "button", title, onclick: act }, label);
  byId("timeline").append(
    make("div", { className: "tools" },
      button("+", "closer ( + )", () => zoom(0.5)), button("−", "farther ( - )", () => zoom(2)),
      button("all", "the whole run ( 0 )", () => zoom(1e9)), scale,
      make("span", { className: "found" },
        "drag to move, ctrl and the wheel to zoom, a double click for one bar"
        + (crowded ? `; ${counted(crowded)} more are drawn together, with their number, and not searched` : ""))),
    box, tip);
  draw();
})();
