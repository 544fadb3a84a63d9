/** Whether this browser records sound on this page: without TLS it does not. */
export function canRecord(): boolean {
  return "MediaRecorder" in window && (navigator.mediaDevices as MediaDevices | undefined) !== undefined;
}
