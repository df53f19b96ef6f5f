// Requests to the server of this page. The token comes from the fragment of the address, which no request carries,
// and stays in this tab.

const fragment = new URLSearchParams(location.hash.slice(1)).get("token");
if (fragment) {
  sessionStorage.setItem("token", fragment);
  history.replaceState(null, "", "/");
}
const token = sessionStorage.getItem("token") || "";

export class Refused extends Error {}

export async function ask(path, values, signal) {
  const headers = { authorization: `Bearer ${token}` };
  const how = { headers, signal };
  if (values !== undefined) {
    headers["content-type"] = "application/json";
    Object.assign(how, { method: "POST", body: JSON.stringify(values) });
  }
  const answer = await fetch(path, how);
  if (!answer.ok) {
    const refused = new Refused((await answer.text()).trim());
    refused.status = answer.status;
    throw refused;
  }
  return answer;
}

const TYPES = {
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, int64: BigInt64Array, int32: Int32Array,
  float32: Float32Array, float64: Float64Array, bool: Uint8Array, int8: Int8Array, int16: Int16Array,
};

export async function array(answer) {
  const Type = TYPES[answer.headers.get("x-type")];
  const values = new Type(await answer.arrayBuffer());
  return { values: Type === BigInt64Array ? Array.from(values, Number) : values, shape: JSON.parse(answer.headers.get("x-shape")) };
}

export async function* lines(answer) {
  const reader = answer.body.getReader(), decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

// One request is on its way, and the newest state comes next: what lies between is never asked for.
export function newest(work, problem) {
  let going = false, again = false;
  return async () => {
    again = true;
    if (going) return;
    going = true;
    while (again) {
      again = false;
      try {
        await work();
        problem("");
      } catch (error) {
        if (error.status === 409) again = true;
        else if (error instanceof Refused) problem(error.message);
        else if (error.name !== "AbortError") problem("The page has no answer: its server may have ended.");
      }
    }
    going = false;
  };
}
