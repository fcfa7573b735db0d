//! From items to expressions, with the checks of strict mode.
//!
//! Specification: `protocol/20-policies.md` 4 and 9.2.

use super::error::{Problem, Refusal};
use super::syntax::{Item, Node};
use super::tree::{Expr, Operator};
use super::{MAX_NODES, Mode};

/// Compiles what a parser read.
pub(super) fn compile(node: Node, mode: Mode) -> Result<Expr, Refusal> {
    let mut compiler = Compiler { mode, nodes: 0 };
    compiler.expr(node)
}

struct Compiler {
    mode: Mode,
    nodes: usize,
}

impl Compiler {
    fn expr(&mut self, node: Node) -> Result<Expr, Refusal> {
        let Node { at, item } = node;
        self.count(at)?;
        Ok(match item {
            Item::Text(text) => Expr::Text(text.into()),
            Item::Int(number) => Expr::Int(number),
            Item::Float(number) => Expr::Float(number.to_bits()),
            Item::Bool(value) => Expr::Bool(value),
            Item::Name(name) if self.mode == Mode::Strict => match Operator::from_name(&name) {
                Some(_) => return Err(Refusal::new(at, Problem::Misplaced(name))),
                None => Expr::Name(name.into()),
            },
            Item::Name(name) => Expr::Name(name.into()),
            Item::Seq(items) => Expr::Seq(self.all(items)?),
            Item::List(items) => self.list(at, items)?,
        })
    }

    fn count(&mut self, at: usize) -> Result<(), Refusal> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Refusal::new(at, Problem::TooMany));
        }
        Ok(())
    }

    fn all(&mut self, items: impl IntoIterator<Item = Node>) -> Result<Box<[Expr]>, Refusal> {
        items.into_iter().map(|item| self.expr(item)).collect()
    }

    fn list(&mut self, at: usize, items: Vec<Node>) -> Result<Expr, Refusal> {
        let mut items = items.into_iter();
        let Some(head) = items.next() else {
            return Ok(Expr::Unit);
        };
        let name = match head.item {
            Item::Name(name) => name,
            item => {
                let head = Node::new(head.at, item);
                let all = self.all(core::iter::once(head).chain(items))?;
                return Ok(Expr::Headless(all));
            }
        };
        self.count(head.at)?;
        let operands = self.all(items)?;
        match Operator::from_name(&name) {
            Some(operator) => {
                if self.mode == Mode::Strict {
                    check_operands(at, operator, operands.len())?;
                }
                Ok(Expr::Call(operator, operands))
            }
            None if self.mode == Mode::Strict => {
                Err(Refusal::new(head.at, Problem::UnknownOperator(name)))
            }
            None => Ok(Expr::Unknown(name.into(), operands)),
        }
    }
}

fn check_operands(at: usize, operator: Operator, given: usize) -> Result<(), Refusal> {
    let (fewest, most) = operator.operands();
    if (fewest..=most).contains(&given) {
        return Ok(());
    }
    let wanted = match (fewest, most) {
        (1, _) => "one operand",
        (2, 2) => "two operands",
        (3, _) => "three operands",
        _ => "two or more operands",
    };
    let operator = operator.name();
    Err(Refusal::new(
        at,
        Problem::Operands {
            operator,
            wanted,
            given,
        },
    ))
}
