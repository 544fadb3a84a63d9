import { Component, useEffect, type ReactNode } from "react";
import { Problem } from "../../api/problem";
import { ProblemNotice } from "./Notice";

/** Renders what is around a notice. */
export type Frame = (notice: ReactNode) => ReactNode;

interface Props {
  /** Called before the children are rendered again. */
  onRetry?: () => void;
  /** Renders the notice; by default the notice is a page. */
  frame?: Frame;
  children: ReactNode;
}

/** Shows the error in place of children that cannot be rendered; the page around them keeps working. */
export class ErrorBoundary extends Component<Props, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error: error ?? new Error("unknown") };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (error === null) return this.props.children;
    return <Failed error={error} onRetry={this.retry} frame={this.props.frame} />;
  }

  private readonly retry = (): void => {
    this.props.onRetry?.();
    this.setState({ error: null });
  };
}

interface FailedProps {
  error: unknown;
  onRetry: () => void;
  frame: Frame | undefined;
}

function Failed({ error, onRetry, frame }: FailedProps) {
  const isMissing = error instanceof Problem && error.code === "page_missing";
  useEffect(() => {
    if (!isMissing) return undefined;
    addEventListener("online", onRetry);
    return () => removeEventListener("online", onRetry);
  }, [isMissing, onRetry]);
  if (frame) return frame(<ProblemNotice error={error} onRetry={onRetry} />);
  return <ProblemNotice isPage error={error} onRetry={onRetry} />;
}
