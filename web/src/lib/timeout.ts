import { timedOut } from "../api/problem";
import type { Clock } from "./clock";

/** The promise's value; rejects with a Problem when it is not there `ms` milliseconds from now. */
export function withTimeout<Value>(clock: Clock, ms: number, promise: Promise<Value>): Promise<Value> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => reject(timedOut()));
    void promise.then(resolve, reject).finally(cancel);
  });
}
