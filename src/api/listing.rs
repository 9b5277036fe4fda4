//! Lists over the wire: `?after=&limit=`, and `next` to go on with.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;
use crate::store::page::{PAGE_LIMIT, Page, PageRequest};

/// Which part of a list is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// the identifier after which the list goes on: `next` of the page before
    pub after: Option<String>,
    /// items wanted, 1 to 200
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    pub limit: Option<String>,
}

/// A part of a list, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listing<T> {
    /// the items
    pub items: Vec<T>,
    /// give this as `after` for what follows; null when nothing does
    pub next: Option<String>,
}

impl PageQuery {
    /// What the store is asked for.
    ///
    /// # Errors
    /// 422 when the limit is no number in its range.
    pub fn request(self) -> Result<PageRequest, Problem> {
        page_request(self.after, self.limit.as_deref())
    }
}

/// The same for lists that have further parameters.
///
/// # Errors
/// 422 when the limit is no number in its range.
pub fn page_request(after: Option<String>, limit: Option<&str>) -> Result<PageRequest, Problem> {
    let limit = match limit.map(str::parse::<u32>) {
        None => None,
        Some(Ok(limit)) if (1..=PAGE_LIMIT).contains(&limit) => Some(limit),
        Some(_) => return Err(Problem::field("limit", format!("must be a whole number, 1 to {PAGE_LIMIT}"))),
    };
    Ok(PageRequest { after, limit })
}

impl<T> Listing<T> {
    /// A page of records as it goes out.
    pub fn of<R>(page: Page<R>, show: impl Fn(R) -> T) -> Self {
        Self { items: page.items.into_iter().map(show).collect(), next: page.next }
    }
}
