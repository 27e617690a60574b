// Lists, creates, edits and deletes records through the API. What comes from
// the server is only ever set as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
const state = { models: [], model: null, record: null, next: null };

// element makes an element with properties and children.
function element(tag, properties = {}, ...children) {
  const e = Object.assign(document.createElement(tag), properties);
  e.append(...children);
  return e;
}

// call asks the API. A failure is an Error with the answer's fields.
async function call(method, path, body) {
  const request = { method, headers: {} };
  if (body !== undefined) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  const response = await fetch(path, request);
  if (response.status === 204) return null;
  let answer = null;
  try {
    answer = await response.json();
  } catch {
    answer = { error: "the server answered " + response.status };
  }
  if (response.ok) return answer;
  throw Object.assign(new Error(answer.error || "the server answered " + response.status), { fields: answer.fields || {} });
}

function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

function labelOf(model, record) {
  const field = model.fields.find((f) => f.type === "string" || f.type === "text");
  return (field && record[field.name]) || "#" + record.id;
}

function shown(field, value) {
  if (value === null || value === undefined || value === "") return "–";
  switch (field.type) {
    case "bool": return value ? "✓" : "–";
    case "time": return new Date(value).toLocaleString();
    case "date": return new Date(value + "T00:00:00").toLocaleDateString();
    case "json": return JSON.stringify(value);
    default: return String(value);
  }
}

function isNumber(field) {
  return field.type === "int" || field.type === "float";
}

function drawModels() {
  byId("models").replaceChildren(...state.models.map((m) => {
    const b = element("button", { type: "button", textContent: m.title });
    b.addEventListener("click", () => { location.hash = m.table; });
    if (m === state.model) b.setAttribute("aria-current", "page");
    return b;
  }));
}

function row(model, record, names) {
  const cells = model.fields.map((f) => {
    let text = shown(f, record[f.name]);
    if (f.type === "ref" && record[f.name] !== null) text = names[f.name]?.get(record[f.name]) || "#" + record[f.name];
    const cell = element("td", { textContent: text, title: text });
    if (isNumber(f)) cell.className = "number";
    if (text === "–") cell.className = "none";
    return cell;
  });
  const line = element("tr", { tabIndex: 0 }, ...cells);
  const open = () => edit(record);
  line.addEventListener("click", open);
  line.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
  return line;
}

// namesOf returns, for each ref field, what its records are called.
async function namesOf(model) {
  const names = {};
  for (const f of model.fields.filter((f) => f.type === "ref")) {
    const other = state.models.find((m) => m.table === f.ref);
    const page = await call("GET", "/api/" + f.ref + "?limit=500");
    names[f.name] = new Map(page.items.map((r) => [r.id, labelOf(other, r)]));
  }
  return names;
}

async function load(more) {
  const model = state.model;
  try {
    const after = more ? "&after=" + state.next : "";
    const [page, names] = await Promise.all([call("GET", "/api/" + model.table + "?sort=-id&limit=50" + after), namesOf(model)]);
    if (model !== state.model) return; // another one was chosen meanwhile
    const body = byId("records").tBodies[0];
    if (!more) {
      body.replaceChildren();
      byId("records").tHead.rows[0].replaceChildren(...model.fields.map((f) => element("th", { scope: "col", textContent: f.title, className: isNumber(f) ? "number" : "" })));
    }
    body.append(...page.items.map((r) => row(model, r, names)));
    state.next = page.next;
    byId("records").hidden = body.rows.length === 0;
    byId("empty").hidden = body.rows.length > 0;
    byId("more").hidden = page.next === null;
    notice("");
  } catch (error) {
    notice("The records cannot be shown: " + error.message);
  }
}

function choose() {
  const table = decodeURIComponent(location.hash.slice(1));
  state.model = state.models.find((m) => m.table === table) || state.models[0];
  byId("heading").textContent = state.model.title;
  byId("new").hidden = false;
  drawModels();
  return load(false);
}

// local turns a time into what a datetime-local input takes.
function local(value) {
  const at = new Date(value);
  return new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}

function inputFor(field, value, names) {
  const id = "field-" + field.name;
  switch (field.type) {
    case "bool": return element("input", { id, type: "checkbox", checked: value === true });
    case "text": return element("textarea", { id, value: value ?? "" });
    case "json": return element("textarea", { id, value: value === null || value === undefined ? "" : JSON.stringify(value, null, 2), spellcheck: false });
    case "ref": {
      const options = [...names[field.name]].map(([key, text]) => element("option", { value: key, textContent: text }));
      if (value && !names[field.name].has(value)) options.push(element("option", { value, textContent: "#" + value }));
      const select = element("select", { id }, element("option", { value: "", textContent: "–" }), ...options);
      select.value = value ?? "";
      return select;
    }
    case "time": return element("input", { id, type: "datetime-local", step: 1, value: value ? local(value) : "" });
    case "date": return element("input", { id, type: "date", value: value ?? "" });
    case "int": return element("input", { id, type: "number", step: 1, value: value ?? "" });
    case "float": return element("input", { id, type: "number", step: "any", value: value ?? "" });
    case "string": return element("input", { id, type: "text", maxLength: 1000, value: value ?? "" });
    default: return element("input", { id, type: "text", value: value ?? "" });
  }
}

// valueOf reads an input as JSON has it; it throws if that cannot be.
function valueOf(field, input) {
  if (field.type === "bool") return input.checked;
  if (input.validity.badInput) throw new Error("is not a value of this kind");
  if (input.value === "") return null;
  switch (field.type) {
    case "int": case "float": case "ref": return Number(input.value);
    case "time": return new Date(input.value).toISOString();
    case "json": return JSON.parse(input.value);
    default: return input.value;
  }
}

async function edit(record) {
  const model = state.model;
  let names = {};
  try {
    names = await namesOf(model);
  } catch (error) {
    notice("The form cannot be shown: " + error.message);
    return;
  }
  state.record = record;
  byId("editor-title").textContent = (record ? "Edit " : "New ") + model.name.replaceAll("_", " ");
  byId("inputs").replaceChildren(...model.fields.map((f) => {
    const input = inputFor(f, record ? record[f.name] : f.default, names);
    input.dataset.before = JSON.stringify(f.type === "bool" ? input.checked : input.value);
    const label = element("label", { htmlFor: input.id, textContent: f.title });
    if (!f.required && f.type !== "bool") label.append(element("span", { className: "soft", textContent: " (optional)" }));
    if (f.type === "bool") label.prepend(input);
    const parts = f.type === "bool" ? [label] : [label, input];
    return element("div", {}, ...parts, element("p", { className: "error", id: "error-" + f.name, hidden: true }));
  }));
  byId("form-error").hidden = true;
  byId("delete").hidden = !record;
  byId("editor").showModal();
}

// complain says what is wrong: at its fields, or else below them.
function complain(message, fields) {
  const known = state.model.fields.some((f) => fields[f.name]);
  for (const f of state.model.fields) {
    const why = fields[f.name];
    byId("error-" + f.name).textContent = why ? f.title + " " + why : "";
    byId("error-" + f.name).hidden = !why;
    byId("field-" + f.name).closest("div").classList.toggle("wrong", Boolean(why));
  }
  byId("form-error").textContent = message;
  byId("form-error").hidden = known || !message;
}

// save sends what was changed, so that it does not undo what others did.
async function save() {
  const { model, record } = state;
  const body = {};
  const wrong = {};
  for (const f of model.fields) {
    const input = byId("field-" + f.name);
    const now = JSON.stringify(f.type === "bool" ? input.checked : input.value);
    if (record && now === input.dataset.before && !input.validity.badInput) continue;
    try {
      const value = valueOf(f, input);
      // A field that was emptied is null, not its default.
      if (record || value !== null || f.default !== undefined) body[f.name] = value;
    } catch {
      wrong[f.name] = f.type === "json" ? "is not valid JSON" : "is not a value of this kind";
    }
  }
  if (Object.keys(wrong).length > 0) return complain("", wrong);
  try {
    if (record) await call("PATCH", "/api/" + model.table + "/" + record.id, body);
    else await call("POST", "/api/" + model.table, body);
  } catch (error) {
    return complain(error.message, error.fields || {});
  }
  byId("editor").close();
  return load(false);
}

async function remove() {
  if (!confirm("Delete this " + state.model.name.replaceAll("_", " ") + "?")) return;
  try {
    await call("DELETE", "/api/" + state.model.table + "/" + state.record.id);
  } catch (error) {
    complain(error.message, {});
    return;
  }
  byId("editor").close();
  await load(false);
}

async function start() {
  byId("new").addEventListener("click", () => edit(null));
  byId("more").addEventListener("click", () => load(true));
  byId("cancel").addEventListener("click", () => byId("editor").close());
  byId("delete").addEventListener("click", remove);
  byId("editor").querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); save(); });
  addEventListener("hashchange", choose);
  try {
    state.models = await call("GET", "/_app/models.json");
    await choose();
  } catch (error) {
    notice("The page cannot be shown: " + error.message);
  }
}

start();
