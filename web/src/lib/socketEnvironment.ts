import { openSocket, type SocketEnvironment } from "./reconnectingSocket";
import { steadyClock } from "./ticker";

/** The browser's WebSocket, timers and random numbers. */
export const socketEnvironment: SocketEnvironment = { open: openSocket, clock: steadyClock, random: Math.random };
