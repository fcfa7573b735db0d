//! The full form: lists in parentheses.
//!
//! Specification: `protocol/20-policies.md` 4.1.

use super::error::{Problem, Refusal};
use super::lexer::{Lexer, Token};
use super::syntax::{Item, Node, written_equal};
use super::tree::Operator;
use super::{MAX_DEPTH, MAX_NODES, Mode};

/// A list or sequence that is not closed yet.
struct Open {
    at: usize,
    is_list: bool,
    items: Vec<Node>,
}

/// Reads a text in full form.
pub(super) fn parse(text: &str, mode: Mode) -> Result<Node, Refusal> {
    let mut lexer = Lexer::new(text, mode);
    let mut open: Vec<Open> = Vec::new();
    // Items outside of all parentheses, and how often a surplus one has closed them.
    let (mut items, mut surplus): (Vec<Node>, usize) = (Vec::new(), 0);
    let (mut deepest, mut count) = (0, 0);
    while let Some((at, token)) = lexer.next()? {
        count += usize::from(!matches!(token, Token::Close | Token::CloseSeq));
        if count > MAX_NODES {
            return Err(Refusal::new(at, Problem::TooMany));
        }
        let node = match token {
            Token::Item(item) => Node::new(at, item),
            Token::Open | Token::OpenSeq => {
                let is_list = matches!(token, Token::Open);
                let items = Vec::new();
                open.push(Open { at, is_list, items });
                deepest = deepest.max(open.len());
                if deepest + surplus > MAX_DEPTH {
                    return Err(Refusal::new(at, Problem::TooDeep));
                }
                continue;
            }
            Token::Close | Token::CloseSeq => {
                let is_list = matches!(token, Token::Close);
                match open.pop() {
                    Some(closed) if closed.is_list == is_list => close(closed, mode)?,
                    None if is_list && mode == Mode::Compat => {
                        surplus += 1;
                        if deepest + surplus > MAX_DEPTH {
                            return Err(Refusal::new(at, Problem::TooDeep));
                        }
                        Node::new(0, Item::List(core::mem::take(&mut items)))
                    }
                    _ => return Err(Refusal::new(at, Problem::Unopened)),
                }
            }
        };
        open.last_mut()
            .map_or(&mut items, |open| &mut open.items)
            .push(node);
    }
    if let Some(open) = open.pop() {
        let problem = if open.is_list {
            Problem::OpenList
        } else {
            Problem::OpenSequence
        };
        return Err(Refusal::new(open.at, problem));
    }
    if items.len() > 1 && deepest + surplus >= MAX_DEPTH {
        return Err(Refusal::new(0, Problem::TooDeep));
    }
    whole(items, mode).unwrap_or_else(|| Err(Refusal::new(lexer.at(), Problem::Empty)))
}

fn close(closed: Open, mode: Mode) -> Result<Node, Refusal> {
    let Open { at, is_list, items } = closed;
    if is_list {
        return Ok(Node::new(at, Item::List(items)));
    }
    for (left, right) in items.iter().zip(items.iter().skip(1)) {
        if written_equal(left, right, mode).is_none() {
            return Err(Refusal::new(right.at, Problem::Mixed));
        }
    }
    Ok(Node::new(at, Item::Seq(items)))
}

/// The policy that the outermost items are; none if there are none.
fn whole(mut items: Vec<Node>, mode: Mode) -> Option<Result<Node, Refusal>> {
    let first = items.first()?;
    let (at, begins_with_list) = (first.at, matches!(first.item, Item::List(_)));
    if let Err(at) = begins_with_operator(first) {
        return Some(Err(Refusal::new(at, Problem::NoOperator)));
    }
    Some(match items.get(1) {
        None => Ok(items.swap_remove(0)),
        Some(second) if mode == Mode::Strict && begins_with_list => {
            Err(Refusal::new(second.at, Problem::BothForms))
        }
        Some(_) => Ok(Node::new(at, Item::List(items))),
    })
}

/// Whether the first item, or the first of that and so on, is an operator; otherwise where it is.
fn begins_with_operator(node: &Node) -> Result<(), usize> {
    match &node.item {
        Item::Name(name) if Operator::from_name(name).is_some() => Ok(()),
        Item::List(items) => items.first().map_or(Err(node.at), begins_with_operator),
        _ => Err(node.at),
    }
}
