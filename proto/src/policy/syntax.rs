//! What both parsers make of a text: items with their places.

use super::Mode;

/// An item and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Offset in bytes.
    pub(super) at: usize,
    pub(super) item: Item,
}

/// An item of the full form.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Name(String),
    Seq(Vec<Node>),
    List(Vec<Node>),
}

impl Node {
    pub(super) fn new(at: usize, item: Item) -> Self {
        Self { at, item }
    }

    pub(super) fn name(at: usize, name: impl Into<String>) -> Self {
        Self::new(at, Item::Name(name.into()))
    }
}

/// Whether two items could stand next to each other in a sequence: the reference compares them as
/// they are written, and stops where they differ. In strict mode names and lists fit to everything,
/// because their kind is not known before they are evaluated.
///
/// The result is what the reference calls their equality; `None` means different kinds.
pub(super) fn written_equal(a: &Node, b: &Node, mode: Mode) -> Option<bool> {
    let is_open = |node: &Node| matches!(node.item, Item::Name(_) | Item::List(_));
    if mode == Mode::Strict && (is_open(a) || is_open(b)) {
        return Some(true);
    }
    Some(match (&a.item, &b.item) {
        (Item::Text(a), Item::Text(b)) | (Item::Name(a), Item::Name(b)) => a == b,
        (Item::Int(a), Item::Int(b)) => a == b,
        (Item::Float(a), Item::Float(b)) => a == b,
        (Item::Bool(a), Item::Bool(b)) => a == b,
        (Item::Seq(a), Item::Seq(b)) | (Item::List(a), Item::List(b)) => {
            if a.len() != b.len() {
                return Some(false);
            }
            for (a, b) in a.iter().zip(b) {
                if !written_equal(a, b, mode)? {
                    return Some(false);
                }
            }
            true
        }
        _ => return None,
    })
}
