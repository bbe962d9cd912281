//! `$filter`: parser and evaluator, written for the simulator alone.

use std::cmp::Ordering;

use super::table::Definition;
use super::value::{DateForm, Kind, Value, parse_decimal, parse_moment};

/// A condition on a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Filter {
    Compare(usize, Operator, Value),
    In(usize, Vec<Value>),
    Text(Function, usize, String),
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Contains,
    StartsWith,
    EndsWith,
}

impl Filter {
    /// Whether a row meets it. A comparison with null is false, but for `eq null` and `ne null`.
    pub(crate) fn fits(&self, row: &[Value]) -> bool {
        let null = Value::Null;
        let value = |at: &usize| row.get(*at).unwrap_or(&null);
        match self {
            Self::Compare(at, operator, literal) => {
                let value = value(at);
                match (operator, value, literal) {
                    (Operator::Eq, one, two) if *one == Value::Null || *two == Value::Null => one == two,
                    (Operator::Ne, one, two) if *one == Value::Null || *two == Value::Null => one != two,
                    (_, Value::Null, _) | (_, _, Value::Null) => false,
                    (operator, one, two) => one.compare(two).is_some_and(|order| operator.holds(order)),
                }
            }
            Self::In(at, literals) => {
                let value = value(at);
                literals.iter().any(|literal| value.compare(literal) == Some(Ordering::Equal))
            }
            Self::Text(function, at, part) => match value(at) {
                Value::Text(text) => match function {
                    Function::Contains => text.contains(part.as_str()),
                    Function::StartsWith => text.starts_with(part.as_str()),
                    Function::EndsWith => text.ends_with(part.as_str()),
                },
                _ => false,
            },
            Self::And(one, two) => one.fits(row) && two.fits(row),
            Self::Or(one, two) => one.fits(row) || two.fits(row),
            Self::Not(inner) => !inner.fits(row),
        }
    }

    /// The bounds that the condition sets to a column by itself: the first value above, and the last one.
    pub(crate) fn bounds(&self, column: usize) -> (Option<i64>, Option<i64>) {
        match self {
            Self::Compare(at, operator, Value::Int(number)) if *at == column => match operator {
                Operator::Gt => (number.checked_add(1), None),
                Operator::Ge => (Some(*number), None),
                Operator::Lt => (None, number.checked_sub(1)),
                Operator::Le => (None, Some(*number)),
                Operator::Eq => (Some(*number), Some(*number)),
                Operator::Ne => (None, None),
            },
            Self::And(one, two) => {
                let ((from, to), (other_from, other_to)) = (one.bounds(column), two.bounds(column));
                (from.max(other_from), [to, other_to].into_iter().flatten().min())
            }
            _ => (None, None),
        }
    }
}

impl Operator {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
        }
    }

    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "gt" => Self::Gt,
            "ge" => Self::Ge,
            "lt" => Self::Lt,
            "le" => Self::Le,
            _ => return None,
        })
    }
}

/// How dates in filters are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dates {
    pub(crate) form: DateForm,
    /// Whether a date and time must have an offset, as OData's grammar demands.
    pub(crate) strict: bool,
}

/// Reads a filter on a table; an error is the text of the answer.
pub(crate) fn parse(text: &str, definition: &Definition, dates: Dates) -> Result<Filter, String> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, definition, dates };
    let filter = parser.or()?;
    match parser.tokens.first() {
        None => Ok(filter),
        Some(token) => Err(format!("Syntax error: unexpected {token:?} in '{text}'.")),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Open,
    Close,
    Comma,
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(&letter) = letters.peek() {
        match letter {
            ' ' => {
                letters.next();
            }
            '(' | ')' | ',' => {
                letters.next();
                found.push(match letter {
                    '(' => Token::Open,
                    ')' => Token::Close,
                    _ => Token::Comma,
                });
            }
            '\'' => {
                letters.next();
                let mut content = String::new();
                loop {
                    match letters.next() {
                        Some('\'') if letters.peek() == Some(&'\'') => {
                            letters.next();
                            content.push('\'');
                        }
                        Some('\'') => break,
                        Some(other) => content.push(other),
                        None => return Err(format!("There is an unterminated string literal in '{text}'.")),
                    }
                }
                found.push(Token::Text(content));
            }
            _ => {
                let mut word = String::new();
                while let Some(&next) = letters.peek()
                    && !" (),'".contains(next)
                {
                    word.push(next);
                    letters.next();
                }
                found.push(Token::Word(word));
            }
        }
    }
    Ok(found)
}

struct Parser<'a> {
    tokens: &'a [Token],
    definition: &'a Definition,
    dates: Dates,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first.clone())
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let fits = matches!(self.tokens.first(), Some(Token::Word(word)) if word == wanted);
        if fits {
            self.next();
        }
        fits
    }

    fn expect(&mut self, wanted: &Token) -> Result<(), String> {
        if self.next().as_ref() == Some(wanted) { Ok(()) } else { Err(format!("Syntax error: {wanted:?} expected.")) }
    }

    fn or(&mut self) -> Result<Filter, String> {
        let mut filter = self.and()?;
        while self.take_word("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.and()?));
        }
        Ok(filter)
    }

    fn and(&mut self) -> Result<Filter, String> {
        let mut filter = self.unary()?;
        while self.take_word("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.unary()?));
        }
        Ok(filter)
    }

    fn unary(&mut self) -> Result<Filter, String> {
        if self.take_word("not") {
            return Ok(Filter::Not(Box::new(self.unary()?)));
        }
        match self.next() {
            Some(Token::Open) => {
                let inner = self.or()?;
                self.expect(&Token::Close)?;
                Ok(inner)
            }
            Some(Token::Word(word)) => match word.as_str() {
                "contains" => self.text(Function::Contains),
                "startswith" => self.text(Function::StartsWith),
                "endswith" => self.text(Function::EndsWith),
                _ => self.comparison(&word),
            },
            _ => Err("Syntax error: an expression was expected.".to_owned()),
        }
    }

    fn text(&mut self, function: Function) -> Result<Filter, String> {
        self.expect(&Token::Open)?;
        let Some(Token::Word(name)) = self.next() else {
            return Err("Syntax error: a property was expected.".to_owned());
        };
        let at = self.definition.column(&name)?;
        self.expect(&Token::Comma)?;
        let Some(Token::Text(part)) = self.next() else {
            return Err("Syntax error: a string was expected.".to_owned());
        };
        self.expect(&Token::Close)?;
        Ok(Filter::Text(function, at, part))
    }

    fn comparison(&mut self, name: &str) -> Result<Filter, String> {
        let at = self.definition.column(name)?;
        let Some(Token::Word(word)) = self.next() else {
            return Err("Syntax error: an operator was expected.".to_owned());
        };
        if word == "in" {
            self.expect(&Token::Open)?;
            let mut literals = vec![self.literal(at)?];
            while self.tokens.first() == Some(&Token::Comma) {
                self.next();
                literals.push(self.literal(at)?);
            }
            self.expect(&Token::Close)?;
            return Ok(Filter::In(at, literals));
        }
        let operator = Operator::of(&word).ok_or_else(|| format!("Syntax error: '{word}' is no operator."))?;
        let literal = self.literal(at)?;
        if matches!(literal, Value::Bool(_)) && !matches!(operator, Operator::Eq | Operator::Ne) {
            return Err(format!("A binary operator with incompatible types was detected: {word} on Edm.Boolean."));
        }
        Ok(Filter::Compare(at, operator, literal))
    }

    fn literal(&mut self, at: usize) -> Result<Value, String> {
        let kind = self.definition.columns.get(at).map_or(Kind::Text, |column| column.kind);
        let token = self.next();
        let wrong = || format!("A binary operator with incompatible types was detected: {token:?} against {kind:?}.");
        match (&token, kind) {
            (Some(Token::Word(word)), _) if word == "null" => Ok(Value::Null),
            (Some(Token::Text(text)), Kind::Text) => Ok(Value::Text(text.clone())),
            (Some(Token::Word(word)), Kind::Int32 | Kind::Int64) => word.parse().map(Value::Int).map_err(|_| wrong()),
            (Some(Token::Word(word)), Kind::Decimal(..)) => parse_decimal(word).ok_or_else(wrong),
            (Some(Token::Word(word)), Kind::Bool) => word.parse().map(Value::Bool).map_err(|_| wrong()),
            (Some(Token::Word(word)), Kind::Guid) => word.parse().map(Value::Guid).map_err(|_| wrong()),
            (Some(Token::Word(word)), Kind::Date | Kind::Moment) => {
                let has_offset = chrono::DateTime::parse_from_rfc3339(word).is_ok();
                if self.dates.strict && !has_offset {
                    return Err(wrong());
                }
                parse_moment(word, self.dates.form).map(Value::Moment).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }
}
