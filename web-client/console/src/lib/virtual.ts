// Long lists of which only what is seen exists: which rows those are, and pages of items fetched up to them.

export interface Window {
  first: number;
  /** one past the last */
  end: number;
}

/** Rows that are within the viewport, and `spare` before and after it. */
export function visibleRows(scrollTop: number, height: number, rowHeight: number, total: number, spare = 8): Window {
  const first = Math.max(0, Math.floor(scrollTop / rowHeight) - spare);
  const end = Math.min(total, Math.ceil((scrollTop + height) / rowHeight) + spare);
  return { first: Math.min(first, end), end };
}

/** Where to scroll so that a row is seen whole; null when it is already. */
export function scrollTo(index: number, scrollTop: number, height: number, rowHeight: number): number | null {
  const top = index * rowHeight;
  if (top < scrollTop) return top;
  if (top + rowHeight > scrollTop + height) return top + rowHeight - height;
  return null;
}

export interface Fetched<Item> {
  items: Item[];
  next?: string | null;
  total?: number;
}

/** Items of a listing that is read with a cursor, fetched as far as they are asked for, one page at a time. */
export class Pages<Item> {
  items: Item[] = [];
  total = 0;
  error: unknown = null;
  isComplete = false;
  private next: string | null = null;
  private wanted = 0;
  private running: Promise<void> | null = null;
  private isStopped = false;

  constructor(
    private readonly fetchPage: (after: string | null, limit: number) => Promise<Fetched<Item>>,
    private readonly changed: () => void,
    private readonly pageSize = 100,
    /** what is asked for at once when the list is far behind */
    private readonly pageSizeMost = 200,
  ) {}

  /** Sees to it that the first `count` items come. */
  want(count: number): Promise<void> {
    this.wanted = Math.max(this.wanted, count);
    this.running ??= this.run().finally(() => {
      this.running = null;
    });
    return this.running;
  }

  retry(): Promise<void> {
    this.error = null;
    return this.want(this.wanted);
  }

  /** Nothing that arrives from now on counts. */
  stop(): void {
    this.isStopped = true;
  }

  private async run(): Promise<void> {
    while (!this.isStopped && !this.isComplete && this.error === null && this.items.length < this.wanted) {
      const missing = this.wanted - this.items.length;
      const limit = missing > this.pageSize * 2 ? this.pageSizeMost : this.pageSize;
      try {
        const page = await this.fetchPage(this.next, limit);
        if (this.isStopped) return;
        this.items.push(...page.items);
        this.next = page.next ?? null;
        this.isComplete = this.next === null;
        this.total = this.isComplete ? this.items.length : Math.max(page.total ?? 0, this.items.length + 1);
      } catch (error) {
        if (this.isStopped) return;
        this.error = error;
      }
      this.changed();
    }
  }
}
