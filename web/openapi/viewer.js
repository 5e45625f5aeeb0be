// Shows an OpenAPI document. Everything from the document becomes text, never HTML.
"use strict";

const METHODS = ["get", "put", "post", "delete", "patch"];

// make("p", {class: "note"}, "text", child, …)
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function viewer(spec) {
  const find = (thing) => {
    if (!thing || !thing.$ref) return thing || {};
    return thing.$ref.slice(2).split("/").reduce((at, key) => at[key], spec);
  };

  function kind(schema) {
    const read = find(schema.allOf ? schema.allOf[0] : schema);
    if (read.const !== undefined) return JSON.stringify(read.const);
    if (read.enum) return read.enum.join(" | ");
    const bounds = [];
    if (read.minimum !== undefined || read.maximum !== undefined)
      bounds.push(`${read.minimum ?? ""}–${read.maximum ?? ""}`);
    if (read.maxLength !== undefined) bounds.push(`${read.minLength ?? 0}–${read.maxLength} characters`);
    return [read.type || "any", ...bounds].join(", ");
  }

  function row(name, schema, required, where) {
    const mark = required ? make("b", { class: "required", title: "required" }, " *") : null;
    return make("tr", {},
      make("th", { scope: "row" }, make("code", {}, name), mark),
      make("td", { class: "kind" }, [where, kind(schema)].filter(Boolean).join(" · ")),
      make("td", {}, schema.description || find(schema).description || ""));
  }

  function table(title, rows) {
    if (!rows.length) return null;
    return make("section", {}, make("h3", {}, title), make("table", {}, make("tbody", {}, ...rows)));
  }

  function fields(schema, seen = "") {
    const read = find(schema);
    const required = new Set(read.required || []);
    return Object.entries(read.properties || {}).map(([name, one]) => row(seen + name, one, required.has(name), ""));
  }

  function example(value) {
    if (value === undefined) return null;
    return make("pre", {}, make("code", {}, JSON.stringify(value, null, 2)));
  }

  function curl(method, path, operation) {
    const ready = path.replace("{id}", "user-123");
    const lines = [`curl -X ${method.toUpperCase()} ${spec.servers[0].url}${ready}`];
    if (!(operation.security && !operation.security.length)) lines.push("-u namespace:secret");
    const form = operation.requestBody?.content["application/x-www-form-urlencoded"]?.example || {};
    for (const [name, value] of Object.entries(form)) lines.push(`--data-urlencode '${name}=${value}'`);
    return make("pre", {}, make("code", {}, lines.join(" \\\n  ")));
  }

  function response(status, answer) {
    const read = find(answer);
    const parts = Object.entries(read.content || {}).map(([type, content]) =>
      make("div", {}, make("p", { class: "kind" }, type), example(content.example)));
    const waits = Object.keys(read.headers || {}).join(", ");
    return make("details", { class: "answer" },
      make("summary", {}, make("b", { class: `s${status[0]}` }, status), ` ${read.description}`,
        waits ? make("span", { class: "kind" }, ` · ${waits}`) : null),
      ...parts);
  }

  function call(path, method, operation) {
    const parameters = (operation.parameters || []).map(find);
    const content = operation.requestBody?.content || {};
    const body = (content["application/json"] || Object.values(content)[0])?.schema;
    const types = Object.keys(content).join(", ");
    return make("article", { id: operation.operationId },
      make("h2", {}, make("span", { class: `method ${method}` }, method.toUpperCase()), " ", make("code", {}, path)),
      make("p", { class: "lead" }, operation.summary || ""),
      operation.description ? make("p", {}, operation.description) : null,
      table("Parameters", parameters.map((one) => row(one.name, { ...one.schema, description: one.description }, one.required, one.in))),
      body ? table("Body", fields(body)) : null,
      types ? make("p", { class: "kind" }, types) : null,
      curl(method, path, operation),
      make("h3", {}, "Answers"),
      ...Object.entries(operation.responses).map(([status, answer]) => response(status, answer)));
  }

  function schema(name, one) {
    const rows = fields(one);
    return rows.length ? make("article", { id: `schema-${name}` }, make("h2", {}, name), table("Fields", rows)) : null;
  }

  const calls = [];
  const links = [];
  for (const [path, operations] of Object.entries(spec.paths))
    for (const method of METHODS.filter((one) => operations[one])) {
      const operation = operations[method];
      calls.push(call(path, method, operation));
      links.push(make("a", { href: `#${operation.operationId}` },
        make("span", { class: `method ${method}` }, method.toUpperCase()), " ", path));
    }
  const schemas = Object.entries(spec.components.schemas).map(([name, one]) => schema(name, one));
  const head = make("header", {}, make("h1", {}, `${spec.info.title} ${spec.info.version}`),
    make("p", {}, spec.info.description), make("p", {}, make("a", { href: document.body.dataset.document }, "openapi.json")));
  return { links, calls: [head, ...calls, ...schemas.filter(Boolean)] };
}

fetch(document.body.dataset.document)
  .then((answer) => answer.json())
  .then((spec) => {
    const shown = viewer(spec);
    document.title = spec.info.title;
    document.getElementById("index").replaceChildren(...shown.links);
    document.getElementById("calls").replaceChildren(...shown.calls);
    if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  })
  .catch((error) => {
    document.getElementById("calls").replaceChildren(make("p", {}, `The document cannot be read: ${error}`));
  });
