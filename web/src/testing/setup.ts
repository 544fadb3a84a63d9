import { cleanup } from "@testing-library/react";
import { afterEach } from "vitest";

afterEach(cleanup);

/** A request without a mock fails as without a network, so that tests call no server. */
globalThis.fetch = () => Promise.reject(new TypeError("no test mocks this request"));
