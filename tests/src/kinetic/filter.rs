//! `$filter`: parser and evaluator, written for the simulator alone.

use std::borrow::Cow;
use std::cmp::Ordering;

use chrono::Datelike;

use super::table::Definition;
use super::value::{DateForm, Kind, Value, parse_decimal, parse_moment};

/// A condition on a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Filter {
    Compare(Operand, Operator, Value),
    In(Operand, Vec<Value>),
    Text(Function, Operand, String),
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
}

/// A column, and what functions make of it, the innermost first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operand {
    at: usize,
    made: Vec<Made>,
}

/// A function of one value to another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Lower,
    Upper,
    Trim,
    Length,
    Year,
    Month,
    Day,
}

impl Made {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "tolower" => Self::Lower,
            "toupper" => Self::Upper,
            "trim" => Self::Trim,
            "length" => Self::Length,
            "year" => Self::Year,
            "month" => Self::Month,
            "day" => Self::Day,
            _ => return None,
        })
    }

    /// What comes out, when that goes in.
    fn kind(self, of: Kind) -> Option<Kind> {
        match (self, of) {
            (Self::Lower | Self::Upper | Self::Trim, Kind::Text) => Some(Kind::Text),
            (Self::Length, Kind::Text) | (Self::Year | Self::Month | Self::Day, Kind::Date | Kind::Moment) => {
                Some(Kind::Int32)
            }
            _ => None,
        }
    }

    fn of(self, value: &Value) -> Value {
        let date = match value {
            Value::Date(date) => Some(*date),
            Value::Moment(moment) => Some(moment.date()),
            _ => None,
        };
        match (self, value, date) {
            (Self::Lower, Value::Text(text), _) => text.to_lowercase().into(),
            (Self::Upper, Value::Text(text), _) => text.to_uppercase().into(),
            (Self::Trim, Value::Text(text), _) => text.trim().into(),
            (Self::Length, Value::Text(text), _) => Value::Int(text.chars().map(|_| 1).sum()),
            (Self::Year, _, Some(date)) => Value::Int(date.year().into()),
            (Self::Month, _, Some(date)) => Value::Int(date.month().into()),
            (Self::Day, _, Some(date)) => Value::Int(date.day().into()),
            _ => Value::Null,
        }
    }
}

impl Operand {
    fn value<'a>(&self, row: &'a [Value]) -> Cow<'a, Value> {
        let value = row.get(self.at).map_or(Cow::Owned(Value::Null), Cow::Borrowed);
        self.made.iter().fold(value, |value, made| Cow::Owned(made.of(&value)))
    }

    /// Whether it is a column as it stands in the row.
    fn is(&self, column: usize) -> bool {
        self.at == column && self.made.is_empty()
    }
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
        match self {
            Self::Compare(operand, operator, literal) => {
                let value = operand.value(row);
                match (operator, value.as_ref(), literal) {
                    (Operator::Eq, one, two) if *one == Value::Null || *two == Value::Null => one == two,
                    (Operator::Ne, one, two) if *one == Value::Null || *two == Value::Null => one != two,
                    (_, Value::Null, _) | (_, _, Value::Null) => false,
                    (operator, one, two) => one.compare(two).is_some_and(|order| operator.holds(order)),
                }
            }
            Self::In(operand, literals) => {
                let value = operand.value(row);
                literals.iter().any(|literal| value.compare(literal) == Some(Ordering::Equal))
            }
            Self::Text(function, operand, part) => match operand.value(row).as_ref() {
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
            Self::Compare(operand, operator, Value::Int(number)) if operand.is(column) => match operator {
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
        let (operand, kind) = self.operand()?;
        if kind != Kind::Text {
            return Err("No function signature for the function matches the specified arguments.".to_owned());
        }
        self.expect(&Token::Comma)?;
        let Some(Token::Text(part)) = self.next() else {
            return Err("Syntax error: a string was expected.".to_owned());
        };
        self.expect(&Token::Close)?;
        Ok(Filter::Text(function, operand, part))
    }

    /// A column, or functions around one.
    fn operand(&mut self) -> Result<(Operand, Kind), String> {
        let Some(Token::Word(name)) = self.next() else {
            return Err("Syntax error: a property was expected.".to_owned());
        };
        self.operand_named(&name)
    }

    fn operand_named(&mut self, name: &str) -> Result<(Operand, Kind), String> {
        let function = Made::named(name).filter(|_| self.tokens.first() == Some(&Token::Open));
        let Some(function) = function else {
            let at = self.definition.column(name)?;
            let kind = self.definition.columns.get(at).map_or(Kind::Text, |column| column.kind);
            return Ok((Operand { at, made: Vec::new() }, kind));
        };
        self.expect(&Token::Open)?;
        let (mut operand, kind) = self.operand()?;
        self.expect(&Token::Close)?;
        let kind = function
            .kind(kind)
            .ok_or_else(|| format!("No function signature for the function with name '{name}' matches."))?;
        operand.made.push(function);
        Ok((operand, kind))
    }

    fn comparison(&mut self, name: &str) -> Result<Filter, String> {
        let (operand, kind) = self.operand_named(name)?;
        let Some(Token::Word(word)) = self.next() else {
            return Err("Syntax error: an operator was expected.".to_owned());
        };
        if word == "in" {
            self.expect(&Token::Open)?;
            let mut literals = vec![self.literal(kind)?];
            while self.tokens.first() == Some(&Token::Comma) {
                self.next();
                literals.push(self.literal(kind)?);
            }
            self.expect(&Token::Close)?;
            return Ok(Filter::In(operand, literals));
        }
        let operator = Operator::of(&word).ok_or_else(|| format!("Syntax error: '{word}' is no operator."))?;
        let literal = self.literal(kind)?;
        if matches!(literal, Value::Bool(_)) && !matches!(operator, Operator::Eq | Operator::Ne) {
            return Err(format!("A binary operator with incompatible types was detected: {word} on Edm.Boolean."));
        }
        Ok(Filter::Compare(operand, operator, literal))
    }

    fn literal(&mut self, kind: Kind) -> Result<Value, String> {
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

#[cfg(test)]
mod tests;
