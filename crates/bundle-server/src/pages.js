"use strict";
// The list of runs and the page of a run that goes on. Texts of runs become text nodes only: nothing here makes markup of them.
(() => {
  const cell = (text, className = "") => make("td", { className }, text ?? "");
  const number = (text) => cell(text, "number");
  // As the report says it.
  const parts = (whole, unit, part) => `${Math.floor(whole / 60)} ${unit} ${String(whole % 60).padStart(2, "0")} ${part}`;
  const time = (ms) => (ms == null ? "" : ms >= 3599500 ? parts(Math.round(ms / 60000), "h", "min")
    : ms >= 59950 ? parts(Math.round(ms / 1000), "min", "s") : ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(0)} ms`);
  const count = (value) => (value == null ? "" : Math.round(value).toLocaleString("en"));
  const bytes = (value) => {
    if (value == null) return "";
    const units = ["B", "kB", "MB", "GB", "TB"];
    let [scaled, unit] = [value, 0];
    while (scaled >= 1000 && units.length - 1 > unit) [scaled, unit] = [scaled / 1000, unit + 1];
    return `${scaled.toFixed(scaled >= 10 || unit === 0 ? 0 : 1)} ${units[unit]}`;
  };
  const clock = (text) => (text ? new Date(text).toLocaleString() : "");
  const tones = { success: "good", failure: "bad", interrupted: "bad", process_ended: "bad", running: "note", unknown: "warning", stalled: "warning",
    not_run: "muted", unfinished: "warning" };
  // An error may be a page long; its title has the whole.
  const message = (text) => make("span", { className: "message", title: text.length > 200 ? text : "" },
    text.length > 200 ? `${text.slice(0, 199)}…` : text);
  const tag = (status) => make("span", { className: `tag ${tones[status] || "muted"}` }, status.replaceAll("_", " "));
  const rows = (body, all) => byId(body).replaceChildren(...all.map((cells) => make("tr", {}, ...cells)));

  // Asks again and again, never twice at once, and not while nobody looks.
  const follow = (address, pause, show) => {
    const ask = async () => {
      let goesOn = true;
      if (!document.hidden) {
        try {
          const answer = await fetch(address);
          if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
          goesOn = show(await answer.json()) !== false;
          byId("problem").textContent = "";
        } catch (error) {
          byId("problem").textContent = `not up to date: ${error.message}`;
        }
      }
      if (goesOn) setTimeout(ask, pause);
    };
    ask();
  };

  const list = () => {
    const chosen = new Set();
    let runs = [];
    const trend = (shown) => {
      const pipeline = byId("pipeline").value;
      const known = pipeline ? shown.filter((run) => run.duration_ms != null).slice(0, 60).reverse() : [];
      const most = Math.max(...known.map((run) => run.duration_ms), 0.001);
      const bars = known.map((run, position) => {
        const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        const height = Math.max(run.duration_ms / most * 56, 1);
        const place = { x: position * 14, y: 60 - height, width: 11, height };
        Object.entries(place).forEach(([name, value]) => bar.setAttribute(name, value));
        bar.setAttribute("class", run.status === "success" ? "on-path" : "failed");
        const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
        title.textContent = `${time(run.duration_ms)}, ${clock(run.started_at)}`;
        bar.append(title);
        return bar;
      });
      byId("trend").replaceChildren(...bars);
      byId("trend").setAttribute("class", bars.length > 1 ? "" : "hidden");
    };
    const show = () => {
      const words = byId("search").value.toLowerCase().split(/\s+/).filter((word) => word);
      const [status, pipeline] = [byId("status").value, byId("pipeline").value];
      const shown = runs.filter((run) => {
        const text = `${run.id} ${run.dag_name} ${run.status} ${run.profile} ${run.error || ""} ${run.problem || ""}`;
        return words.every((word) => text.toLowerCase().includes(word))
          && (!status || run.status === status) && (!pipeline || run.dag_name === pipeline);
      });
      byId("found").textContent = `${shown.length} of ${runs.length} ${runs.length === 1 ? "run" : "runs"}`;
      trend(shown);
      rows("runs", shown.slice(0, 500).map((run) => {
        const box = make("input", { type: "checkbox", checked: chosen.has(run.id), ariaLabel: `compare ${run.id}` });
        box.addEventListener("change", () => {
          if (box.checked) chosen.add(run.id);
          else chosen.delete(run.id);
          compare();
        });
        const link = make("a", { href: `./runs/${encodeURIComponent(run.id)}/` }, run.id);
        // An id is found again by its beginning, which is lost in three lines.
        link.style.whiteSpace = "nowrap";
        const nodes = run.nodes == null ? "unknown" : `${run.nodes_succeeded}/${run.nodes}${run.nodes_failed ? `, ${run.nodes_failed} failed` : ""}`;
        const problem = message(run.error || run.stalled || run.problem || "");
        return [make("td", {}, box), make("td", {}, link), cell(run.dag_name), make("td", {}, tag(run.status), ...(run.stalled ? [" ", tag("stalled")] : [])),
          cell(clock(run.started_at)), number(time(run.duration_ms)), number(nodes), number(count(run.rows) || "unknown"),
          make("td", {}, problem)];
      }));
    };
    const compare = () => {
      const two = runs.filter((run) => chosen.has(run.id)).reverse();
      const link = byId("compare");
      link.classList.toggle("hidden", two.length !== 2);
      if (two.length !== 2) return;
      const [before, run] = two.map((run) => encodeURIComponent(run.id));
      link.href = `./compare?before=${before}&run=${run}`;
    };
    ["search", "status", "pipeline"].forEach((id) => byId(id).addEventListener("input", show));
    addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.target.tagName === "INPUT") return;
      event.preventDefault();
      byId("search").focus();
    });
    let seen = "";
    follow("./runs.json", 2000, (all) => {
      const text = JSON.stringify(all);
      if (text === seen) return;
      seen = text;
      runs = all;
      const names = [...new Set(runs.map((run) => run.dag_name).filter((name) => name))].sort();
      const field = byId("pipeline");
      const value = field.value;
      field.replaceChildren(make("option", { value: "" }, "every pipeline"),
        ...names.map((name) => make("option", { value: name }, name)));
      field.value = names.includes(value) ? value : "";
      show();
      compare();
    });
  };

  const live = () => follow("./live.json", 1000, (run) => {
    byId("state").replaceChildren(tag(run.status));
    const facts = [`${time(run.duration_ms)}`, `${run.nodes_succeeded} of ${run.nodes} nodes`];
    if (run.nodes_failed) facts.push(`${run.nodes_failed} failed`);
    if (run.cpu_seconds != null) facts.push(`${time(run.cpu_seconds * 1000)} of processor time`);
    if (run.resident_bytes != null) facts.push(`${bytes(run.resident_bytes)} in memory`);
    if (run.last_beat_at) facts.push(`seen ${clock(run.last_beat_at)}`);
    if (run.silent_seconds) facts.push(`the heartbeat has been silent for ${time(run.silent_seconds * 1000)}`);
    byId("facts").textContent = facts.join(", ");
    rows("stalls", run.stalls.map((stall) => [cell(stall.what), cell(stall.operator), cell(clock(stall.since)),
      cell(stall.ended ? clock(stall.ended) : "goes on"), cell(stall.why), cell(stall.remedy)]));
    byId("stalled").classList.toggle("hidden", run.stalls.length === 0);
    rows("active", run.active.map((task) => [cell(task.name), cell(clock(task.since))]));
    const operators = run.queries.flatMap((query) => [
      [make("td", { colSpan: 6 }, make("b", {}, `query ${query.query_id}${query.node ? ` of ${query.node}` : ""}`),
        `, ${time(query.wall_ms)}`)],
      ...query.operators.map((operator) => [cell("  ".repeat(Math.min(operator.depth, 24)) + operator.name, "tree"),
        number(count(operator.rows)), number(count(operator.estimated_rows)),
        number(operator.rows_per_second == null ? "" : `${count(operator.rows_per_second)}/s`),
        number(time(operator.compute_ms)), number(bytes(operator.memory_bytes))]),
    ]);
    rows("operators", operators);
    rows("nodes", run.shown_nodes.map((node) => [cell(node.name), make("td", {}, tag(node.status)),
      number(node.start_ms == null ? "" : `+${time(node.start_ms)}`), number(time(node.duration_ms)),
      number(count(node.rows_out)), make("td", {}, message(node.error || ""))]));
    if (run.status === "running") return true;
    // It has ended: its report is there.
    location.reload();
    return false;
  });

  if (byId("runs")) list();
  else live();
})();
