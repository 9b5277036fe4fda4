//! Lists that are read page by page, in order of their identifiers, which is the order of their making.

/// Most items that one page holds.
pub const PAGE_LIMIT: u32 = 200;

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// the identifier after which the page begins; `None`: at the beginning
    pub after: Option<String>,
    /// items wanted, 1 to [`PAGE_LIMIT`]; `None`: as many as a page holds
    pub limit: Option<u32>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// the items, oldest first unless the list says otherwise
    pub items: Vec<T>,
    /// what to give as `after` for the page that follows; `None` when this is the last
    pub next: Option<String>,
}

impl PageRequest {
    /// Where the page begins, for `id > ?`.
    pub(super) fn start(&self) -> &str {
        self.after.as_deref().unwrap_or("")
    }

    /// Where a page of the newest first begins, for `id < ?`.
    pub(super) fn start_newest(&self) -> &str {
        // No identifier has a character that comes after this one.
        self.after.as_deref().unwrap_or("~")
    }

    fn size(&self) -> u32 {
        self.limit.unwrap_or(PAGE_LIMIT).clamp(1, PAGE_LIMIT)
    }

    /// Rows to ask for: one more than the page holds tells whether another follows.
    pub(super) fn rows(&self) -> u32 {
        self.size() + 1
    }

    /// The page out of the rows that were found.
    pub(super) fn page<T>(&self, mut items: Vec<T>, id: impl Fn(&T) -> &str) -> Page<T> {
        let more = items.len() > self.size() as usize;
        items.truncate(self.size() as usize);
        let next = if more { items.last().map(|item| id(item).to_owned()) } else { None };
        Page { items, next }
    }
}
