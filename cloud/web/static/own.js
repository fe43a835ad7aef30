// The page's texts are in its markup, in the reader's language; `{name}` stands for a value.
export const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

// What this site's own pages send: changes carry the session's token, without which the service refuses them.
let token = document.querySelector("meta[name=csrf]")?.content ?? "";

export const post = (address, body) => change("POST", address, body);

export async function change(method, address, body, more = {}) {
  let answer = await send(method, address, body, more);
  if (answer.status === 403 && answer.headers.has("X-Stale-Token")) {
    const me = await fetch("/api/v1/me"); // signed in anew in another tab: that session has another token
    if (me.ok) {
      token = (await me.json()).csrf ?? "";
      answer = await send(method, address, body, more);
    }
  }
  return answer;
}

export function current() {
  return token;
}

function send(method, address, body, more) {
  const headers = { "X-CSRF-Token": token, ...more };
  if (body) headers["Content-Type"] = "application/json";
  return fetch(address, { method, body, headers });
}
