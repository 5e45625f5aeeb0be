// Codes as people type and paste them, and spans of time. No page: what page.js, which follows it, computes with.
// Lines lose their indentation and comments on the way: a comment has its own line, no string spans lines.

// What people and their phones put between the characters of a code; as `code.normalised` of the server has it.
const FILLERS = /[\p{C}\p{Z}\p{Pd}.·•․。．]/gu;
export const plain = (text) => text.replace(FILLERS, "");

// Whether it could be the code: of its kind of characters (of any script), as long as it is; an unknown length is 0.
export const possible = (text, { length, alphabet }) =>
  new RegExp(`^[${alphabet === "letters" ? "\\p{L}" : ""}\\p{Nd}]{${+length || "4,10"}}$`, "u").test(text);
export const complete = (text, shape) => +shape.length > 0 && possible(text, shape);

// The code in a pasted text, even if it is the whole message; empty when none or several could be it.
export const found = (text, shape) => {
  if (complete(plain(text), shape)) return plain(text);
  if (shape.alphabet === "letters") return "";
  for (const runs of [/\p{Nd}+/gu, /\p{Nd}+(?:[\p{Z}\p{Pd}]\p{Nd}+)+/gu]) {
    const [fit, other] = new Set((text.match(runs) || []).map(plain).filter((run) => complete(run, shape)));
    if (fit) return other ? "" : fit;
  }
  return "";
};

// `12 s`, `3 min`, `2 h`, rounded up; as `Words.span` of the server has it.
export const span = (seconds, [inSeconds, inMinutes, inHours]) => {
  const minutes = Math.ceil(seconds / 60);
  if (seconds < 60) return inSeconds.replace("{count}", Math.max(0, seconds));
  return minutes < 60 ? inMinutes.replace("{count}", minutes) : inHours.replace("{count}", Math.ceil(minutes / 60));
};

// Large codes in groups that the eye can hold.
export const groups = (code) => {
  const size = code.length % 3 === 0 ? 3 : code.length % 5 === 0 ? 5 : 4;
  return code.match(new RegExp(`.{1,${size}}`, "gu"));
};
