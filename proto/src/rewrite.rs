//! The change a hop makes to the routes of a message, without touching its payload.
//!
//! Specification: `protocol/02-routing.md` 3. Every hop removes addresses from the front of the
//! onward route and puts others in front of it or of the return route:
//!
//! ```text
//!          | array head | onward: head, addresses | return: head |  addresses, payload, tracing
//! before  :|<--------------- old prefix ------------------------>|<---------- tail ----------->
//! after:  |<---- new prefix: fewer, other, more addresses ------>|<------- not touched ------->
//! ```
//!
//! The new prefix goes into the headroom in front of the tail: the cost depends on the routes, never
//! on the payload.

use crate::cbor::{self, ARRAY_INDEFINITE, head_len, write_head};
use crate::limits::{MAX_HOPS, MAX_ROUTE};
use crate::message::Layout;
use crate::route::RouteView;
use core::ops::Range;

/// Why a message cannot be rewritten. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// More onward addresses are to be removed than there are.
    #[error("not enough onward addresses")]
    TooFewHops,
    /// One of the routes would have more than [`MAX_HOPS`] addresses.
    #[error("route of more than {MAX_HOPS} hops")]
    TooManyHops,
    /// One of the routes would take more than [`MAX_ROUTE`] bytes, which no receiver accepts. Only
    /// routes that are not encoded canonically get there.
    #[error("route of more than {MAX_ROUTE} bytes")]
    TooLong,
    /// The bytes in front of the message are too few for the new prefix.
    #[error("not enough headroom")]
    NoRoom,
    /// The layout is not that of these bytes.
    #[error("layout of another message")]
    Layout,
}

/// What to change. Steps in this order: remove `pop` onward addresses, put `push_onward` in front of
/// the rest, put `push_return` in front of the return route.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rewrite<'a> {
    /// How many onward addresses to remove.
    pub pop: usize,
    /// Addresses to put in front of the onward route.
    pub push_onward: RouteView<'a>,
    /// Addresses to put in front of the return route.
    pub push_return: RouteView<'a>,
}

/// The new prefix, before it is written.
#[derive(Clone, Debug)]
struct Plan {
    /// The onward addresses that stay, relative to the message.
    kept: Range<usize>,
    onward_hops: usize,
    return_hops: usize,
    /// Length of everything in front of the kept addresses.
    before_kept: usize,
    /// Length of the new prefix.
    len: usize,
}

impl Rewrite<'_> {
    /// Length of the new prefix: of the bytes that replace everything before
    /// [`Layout::tail_start`].
    ///
    /// # Errors
    /// [`RewriteError`] when the change is not possible.
    pub fn prefix_len(&self, msg: &[u8], layout: &Layout) -> Result<usize, RewriteError> {
        self.plan(msg, layout).map(|plan| plan.len)
    }

    /// Writes the new prefix to `out`.
    ///
    /// # Panics
    /// When [`Self::prefix_len`] fails for the same arguments or is not the length of `out`.
    pub fn write_prefix(&self, msg: &[u8], layout: &Layout, out: &mut [u8]) {
        let plan = self.plan(msg, layout).expect("prefix_len was asked first");
        assert_eq!(
            plan.len,
            out.len(),
            "the prefix has another length than was reserved"
        );
        let kept_at = plan.before_kept..plan.before_kept + plan.kept.len();
        out[kept_at].copy_from_slice(&msg[plan.kept.clone()]);
        self.write_around(&plan, layout, out);
    }

    /// Rewrites in place. `buf[head..]` is the message, the bytes before `head` are headroom.
    /// Returns where the message now starts; its end has not moved.
    ///
    /// # Errors
    /// [`RewriteError`], notably [`RewriteError::NoRoom`]. Nothing was changed then.
    pub fn apply(
        &self,
        buf: &mut [u8],
        head: usize,
        layout: &Layout,
    ) -> Result<usize, RewriteError> {
        let msg = buf.get(head..).ok_or(RewriteError::Layout)?;
        let plan = self.plan(msg, layout)?;
        let tail = head + layout.tail_start();
        let new_head = tail.checked_sub(plan.len).ok_or(RewriteError::NoRoom)?;
        // The kept addresses first: the rest of the prefix may lie where they are now.
        let kept = head + plan.kept.start..head + plan.kept.end;
        buf.copy_within(kept, new_head + plan.before_kept);
        let prefix = buf.get_mut(new_head..tail).ok_or(RewriteError::Layout)?;
        self.write_around(&plan, layout, prefix);
        Ok(new_head)
    }

    /// The layout of the message after this change, without reading it again.
    ///
    /// `msg` and `layout` are those from before the change.
    ///
    /// # Errors
    /// [`RewriteError`] when the change is not possible.
    pub fn layout(&self, msg: &[u8], layout: &Layout) -> Result<Layout, RewriteError> {
        let plan = self.plan(msg, layout)?;
        let outer = outer_head_len(layout);
        let onward_start = outer + head_len(plan.onward_hops);
        let onward_end = plan.before_kept + plan.kept.len();
        // The longest sums are far below u32::MAX: prefixes are bounded by their routes.
        let moved = |offset: u32| (offset as usize + plan.len - layout.tail_start()) as u32;
        Ok(Layout {
            onward_start: onward_start as u32,
            first_end: (onward_start + self.first_len(msg, &plan)) as u32,
            onward_end: onward_end as u32,
            onward_hops: plan.onward_hops as u8,
            return_hops: plan.return_hops as u8,
            return_start: plan.len as u32 - self.push_return.elements().len() as u32,
            return_end: moved(layout.return_end),
            payload_start: moved(layout.payload_start),
            payload_end: moved(layout.payload_end),
            tracing: layout
                .tracing
                .map(|(start, end)| (moved(start), moved(end))),
            end: moved(layout.end),
            ..*layout
        })
    }

    /// Bytes of the first onward address after the change, 0 when there is none.
    fn first_len(&self, msg: &[u8], plan: &Plan) -> usize {
        let kept = msg.get(plan.kept.clone()).unwrap_or_default();
        let onward = match self.push_onward.is_empty() {
            true => RouteView::from_checked(plan.onward_hops, kept),
            false => self.push_onward,
        };
        let mut hops = onward.iter();
        hops.next().map_or(0, |_| hops.position())
    }

    fn plan(&self, msg: &[u8], layout: &Layout) -> Result<Plan, RewriteError> {
        let left = layout
            .onward_hops()
            .checked_sub(self.pop)
            .ok_or(RewriteError::TooFewHops)?;
        let onward_hops = left + self.push_onward.hops();
        let return_hops = layout.return_hops() + self.push_return.hops();
        if onward_hops > MAX_HOPS || return_hops > MAX_HOPS {
            return Err(RewriteError::TooManyHops);
        }
        let kept = self.kept_start(msg, layout)?..layout.onward_end as usize;
        if kept.start > kept.end || layout.tail_start() > msg.len() {
            return Err(RewriteError::Layout);
        }
        let onward_len = self.push_onward.elements().len() + kept.len();
        let return_len = self.push_return.elements().len()
            + layout.return_end.saturating_sub(layout.return_start) as usize;
        if onward_len > MAX_ROUTE || return_len > MAX_ROUTE {
            return Err(RewriteError::TooLong);
        }
        let before_kept =
            outer_head_len(layout) + head_len(onward_hops) + self.push_onward.elements().len();
        let return_head = if layout.return_indefinite {
            1
        } else {
            head_len(return_hops)
        };
        let len = before_kept + kept.len() + return_head + self.push_return.elements().len();
        Ok(Plan {
            kept,
            onward_hops,
            return_hops,
            before_kept,
            len,
        })
    }

    /// Where the first onward address that stays begins.
    #[inline]
    fn kept_start(&self, msg: &[u8], layout: &Layout) -> Result<usize, RewriteError> {
        match self.pop {
            0 => Ok(layout.onward_start as usize),
            1 => Ok(layout.first_end as usize),
            _ => {
                let mut hops = layout.onward(msg).iter();
                hops.nth(self.pop - 1).ok_or(RewriteError::Layout)?;
                Ok(layout.onward_start as usize + hops.position())
            }
        }
    }

    /// Writes the new prefix except for the kept addresses, which are already in place.
    fn write_around(&self, plan: &Plan, layout: &Layout, out: &mut [u8]) {
        let mut at = match layout.elements {
            Some(elements) => write_head(out, cbor::ARRAY, elements as usize),
            None => put(out, 0, &[ARRAY_INDEFINITE]),
        };
        at += write_head(&mut out[at..], cbor::ARRAY, plan.onward_hops);
        at += put(out, at, self.push_onward.elements());
        at += plan.kept.len();
        at += match layout.return_indefinite {
            false => write_head(&mut out[at..], cbor::ARRAY, plan.return_hops),
            // The break is in the tail.
            true => put(out, at, &[ARRAY_INDEFINITE]),
        };
        put(out, at, self.push_return.elements());
    }
}

/// Bytes of the head of the outer array, which keeps its number of elements.
fn outer_head_len(layout: &Layout) -> usize {
    layout
        .elements
        .map_or(1, |elements| head_len(elements as usize))
}

#[inline]
fn put(out: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    out[at..at + bytes.len()].copy_from_slice(bytes);
    bytes.len()
}
