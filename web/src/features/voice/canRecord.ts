/** Whether this browser can record sound on this page: not without TLS. */
export function canRecord(): boolean {
  return "MediaRecorder" in window && (navigator.mediaDevices as MediaDevices | undefined) !== undefined;
}
