import { timedOut } from "../api/problem";
import type { Clock } from "./clock";

/** The promise's value; rejects with a Problem if it is not settled `ms` milliseconds from now. */
export function withTimeout<Value>(clock: Clock, ms: number, promise: Promise<Value>): Promise<Value> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => reject(timedOut()));
    void promise.then(resolve, reject).finally(cancel);
  });
}
