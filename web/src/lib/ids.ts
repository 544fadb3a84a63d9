/** A random name that nobody else has: 128 bits in hex. `crypto.randomUUID` is there on secure origins only. */
export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
