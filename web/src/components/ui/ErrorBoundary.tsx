import { Component, useEffect, type ReactNode } from "react";
import { Problem } from "../../api/problem";
import { ProblemNotice } from "./Notice";

interface Props {
  /** Called before the children are rendered again. */
  onRetry?: () => void;
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
    return <Failed error={error} onRetry={this.retry} />;
  }

  private readonly retry = (): void => {
    this.props.onRetry?.();
    this.setState({ error: null });
  };
}

function Failed({ error, onRetry }: { error: unknown; onRetry: () => void }) {
  const isMissing = error instanceof Problem && error.code === "page_missing";
  useEffect(() => {
    if (!isMissing) return undefined;
    addEventListener("online", onRetry);
    return () => removeEventListener("online", onRetry);
  }, [isMissing, onRetry]);
  return <ProblemNotice isPage error={error} onRetry={onRetry} />;
}
