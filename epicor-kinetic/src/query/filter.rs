//! Filters built by type, so that no text of a user is ever pasted into a query.

use crate::error::{Error, Result};
use crate::query::Literal;

/// A condition on rows.
///
/// ```
/// use epicor_kinetic::field;
/// let filter = field("Inactive").eq(false).and(field("Name").contains("O'Neill").or(field("VendorNum").gt(100)));
/// assert_eq!(
///     filter.to_odata()?,
///     "Inactive eq false and (contains(Name,'O''Neill') or VendorNum gt 100)"
/// );
/// # Ok::<(), epicor_kinetic::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a filter does nothing until it is given to a query"]
pub struct Filter(Node);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Compare { field: String, operator: &'static str, value: Literal },
    AnyOf { field: String, values: Vec<Literal> },
    InList { field: String, values: Vec<Literal> },
    Text { function: &'static str, field: String, value: Literal },
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Raw(String),
}

/// A column in a filter, or what a function makes of it. Made by [`field`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a column is no condition yet"]
pub struct Field(String);

/// Begins a condition on a column. Names are case-sensitive; the query checks that it can be a name at all.
pub fn field(name: impl Into<String>) -> Field {
    Field(name.into())
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident => $operator:literal),* $(,)?) => {
        $(
            $(#[$doc])*
            pub fn $name(self, value: impl Into<Literal>) -> Filter {
                Filter(Node::Compare { field: self.0, operator: $operator, value: value.into() })
            }
        )*
    };
}

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident => $function:literal),* $(,)?) => {
        $(
            $(#[$doc])*
            pub fn $name(self) -> Self {
                Self(format!(concat!($function, "({})"), self.0))
            }
        )*
    };
}

macro_rules! text_functions {
    ($($(#[$doc:meta])* $name:ident => $function:literal),* $(,)?) => {
        $(
            $(#[$doc])*
            pub fn $name(self, text: impl Into<String>) -> Filter {
                Filter(Node::Text { function: $function, field: self.0, value: Literal::string(text) })
            }
        )*
    };
}

impl Field {
    comparisons! {
        /// The column equals `value`; `null` asks for unset dates.
        eq => "eq",
        /// The column differs from `value`.
        ne => "ne",
        /// The column is greater than `value`.
        gt => "gt",
        /// The column is greater than `value` or equal to it.
        ge => "ge",
        /// The column is less than `value`.
        lt => "lt",
        /// The column is less than `value` or equal to it.
        le => "le",
    }

    text_functions! {
        /// The column contains `text`.
        contains => "contains",
        /// The column starts with `text`.
        startswith => "startswith",
        /// The column ends with `text`.
        endswith => "endswith",
    }

    functions! {
        /// Its text in lower case.
        tolower => "tolower",
        /// Its text in upper case.
        toupper => "toupper",
        /// Its text without blanks at both ends.
        trim => "trim",
        /// How many characters its text has.
        length => "length",
        /// The year of its date.
        year => "year",
        /// The month of its date, from 1.
        month => "month",
        /// The day of its date, from 1.
        day => "day",
    }

    /// The column equals one of `values`, by the operator `in` of OData 4.01. Kinetic is not known to understand it;
    /// [`Field::in_`] asks the same of every server.
    pub fn in_list<V: Into<Literal>>(self, values: impl IntoIterator<Item = V>) -> Filter {
        Filter(Node::InList { field: self.0, values: values.into_iter().map(Into::into).collect() })
    }

    /// The column equals one of `values`; at least one is needed. Written as comparisons joined by `or`, since the
    /// `in` operator is not known to be understood by Kinetic. For more values than an address can hold see
    /// [`Query::stream_in`](crate::Query::stream_in).
    pub fn in_<V: Into<Literal>>(self, values: impl IntoIterator<Item = V>) -> Filter {
        Filter(Node::AnyOf { field: self.0, values: values.into_iter().map(Into::into).collect() })
    }

    /// The column has no value.
    pub fn is_null(self) -> Filter {
        self.eq(Literal::null())
    }

    /// The column has a value.
    pub fn is_not_null(self) -> Filter {
        self.ne(Literal::null())
    }
}

impl Filter {
    /// Text that goes to the server as it is. The caller answers for quoting; never paste a user's text into it.
    pub fn raw(text: impl Into<String>) -> Self {
        Self(Node::Raw(text.into()))
    }

    /// Both conditions.
    pub fn and(self, other: Self) -> Self {
        Self(match self.0 {
            Node::All(mut parts) => {
                parts.push(other.0);
                Node::All(parts)
            }
            first => Node::All(vec![first, other.0]),
        })
    }

    /// At least one of the conditions.
    pub fn or(self, other: Self) -> Self {
        Self(match self.0 {
            Node::Any(mut parts) => {
                parts.push(other.0);
                Node::Any(parts)
            }
            first => Node::Any(vec![first, other.0]),
        })
    }

    /// The opposite condition.
    #[expect(clippy::should_implement_trait, reason = "it stands beside `and` and `or`, which are no operators")]
    pub fn not(self) -> Self {
        Self(Node::Not(Box::new(self.0)))
    }

    /// The text of the condition, not yet encoded for an address.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a name that cannot be a column's, an empty `in_`, or a
    /// comparison of order with `null`.
    pub fn to_odata(&self) -> Result<String> {
        let mut text = String::new();
        self.0.write(&mut text)?;
        Ok(text)
    }
}

impl Node {
    fn write(&self, out: &mut String) -> Result<()> {
        match self {
            Self::Compare { field, operator, value } => {
                check_field(field)?;
                if value.is_null() && !matches!(*operator, "eq" | "ne") {
                    return Err(Error::config(
                        "write filter",
                        format!("column {field} is ordered against null, which is true for no row; use is_null"),
                    ));
                }
                push(out, &[field, " ", operator, " ", &value.to_string()]);
            }
            Self::InList { field, values } => {
                check_list(field, values)?;
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                push(out, &[field, " in (", &values.join(","), ")"]);
            }
            Self::AnyOf { field, values } => {
                check_list(field, values)?;
                let parts: Vec<String> = values.iter().map(|value| format!("{field} eq {value}")).collect();
                if parts.len() == 1 {
                    out.push_str(&parts.concat());
                } else {
                    push(out, &["(", &parts.join(" or "), ")"]);
                }
            }
            Self::Text { function, field, value } => {
                check_field(field)?;
                push(out, &[function, "(", field, ",", &value.to_string(), ")"]);
            }
            Self::All(parts) => join(out, parts, " and ")?,
            Self::Any(parts) => join(out, parts, " or ")?,
            Self::Not(inner) => {
                out.push_str("not (");
                inner.write(out)?;
                out.push(')');
            }
            Self::Raw(text) => {
                if text.trim().is_empty() {
                    return Err(Error::config("write filter", "a raw filter is empty; leave it out instead"));
                }
                out.push_str(text);
            }
        }
        Ok(())
    }

    /// Whether it must stand in parentheses inside of another condition.
    fn is_compound(&self) -> bool {
        matches!(self, Self::All(_) | Self::Any(_) | Self::Raw(_))
    }
}

fn join(out: &mut String, parts: &[Node], operator: &str) -> Result<()> {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push_str(operator);
        }
        if part.is_compound() {
            out.push('(');
            part.write(out)?;
            out.push(')');
        } else {
            part.write(out)?;
        }
    }
    Ok(())
}

fn push(out: &mut String, pieces: &[&str]) {
    for piece in pieces {
        out.push_str(piece);
    }
}

fn check_list(field: &str, values: &[Literal]) -> Result<()> {
    check_field(field)?;
    if values.is_empty() {
        return Err(Error::config(
            "write filter",
            format!("the list of values for column {field} is empty; leave the query out instead"),
        ));
    }
    Ok(())
}

/// A column, or functions of this module around one.
fn check_field(text: &str) -> Result<()> {
    let mut inner = text;
    while let Some((function, rest)) = inner.split_once('(') {
        let known = ["tolower", "toupper", "trim", "length", "year", "month", "day"].contains(&function);
        match rest.strip_suffix(')') {
            Some(rest) if known => inner = rest,
            _ => break,
        }
    }
    check_column(inner)
}

/// A column's name, or a path of names through navigation properties.
pub(crate) fn check_column(name: &str) -> Result<()> {
    let sound = |part: &str| {
        part.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    if name.len() > 200 || !name.split('/').all(sound) {
        return Err(Error::config(
            "write query",
            "a column name holds characters that no column has; take it from the metadata",
        ));
    }
    Ok(())
}
