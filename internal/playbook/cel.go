package playbook

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Bounds of one expression. A unit of CEL's cost is tens of nanoseconds, and a
// few hundred for a regular expression: the worst that a source's strings can
// make of one evaluation is some 50 ms, after which it is an error.
const (
	maxExpression    = 4096    // characters
	maxEvaluation    = 250_000 // cost at run time
	maxEstimate      = 10_000_000
	estimatedSignals = 1000
	estimatedString  = 256
)

// language is the typed environment of all expressions of one version.
type language struct {
	env  *cel.Env
	more []string // names that for_each gives
}

// with is the language with one more text in it.
func (l *language) with(name string) (*language, error) {
	env, err := l.env.Extend(cel.Variable(name, cel.StringType))
	if err != nil {
		return nil, fmt.Errorf("the name %q: %w", name, err)
	}
	return &language{env, append(slices.Clone(l.more), name)}, nil
}

func newLanguage() (*language, error) {
	tag := types.ParseStructTags(true)
	env, err := cel.NewEnv(
		cel.Types(
			cel.NativeTypeFor[celIdentity](tag, cel.NativeTypeAlias("cordon.Identity")),
			cel.NativeTypeFor[celReason](tag, cel.NativeTypeAlias("cordon.Reason")),
			cel.NativeTypeFor[celRisk](tag, cel.NativeTypeAlias("cordon.Risk")),
			cel.NativeTypeFor[celSignal](tag, cel.NativeTypeAlias("cordon.Signal")),
			cel.NativeTypeFor[celTenant](tag, cel.NativeTypeAlias("cordon.Tenant")),
			cel.NativeTypeFor[celAccount](tag, cel.NativeTypeAlias("cordon.Account")),
			cel.NativeTypeFor[Standing](tag, cel.NativeTypeAlias("cordon.Standing")),
		),
		cel.Variable("identity", cel.ObjectType("cordon.Identity")),
		cel.Variable("risk", cel.ObjectType("cordon.Risk")),
		cel.Variable("signal", cel.ObjectType("cordon.Signal")),
		cel.Variable("signals", cel.ListType(cel.ObjectType("cordon.Signal"))),
		cel.Variable("tenant", cel.ObjectType("cordon.Tenant")),
		cel.Variable("steps", cel.MapType(cel.StringType, cel.ObjectType("cordon.Standing"))),
		cel.Function("level.equals", cel.Overload("level_equals", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(levelEquals))),
		cel.Function("level.at_least", cel.Overload("level_at_least", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(levelAtLeast))),
		cel.HomogeneousAggregateLiterals(),
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(50),
		cel.RegexProgramSizeLimit(2000),
	)
	if err != nil {
		return nil, fmt.Errorf("expression language: %w", err)
	}
	return &language{env: env}, nil
}

// levelAtLeast compares levels by rank; a hidden or unheard-of level on the left
// ranks as medium (law 9), on the right it is an error.
func levelAtLeast(have, want ref.Val) ref.Val {
	h, ok := have.(types.String)
	w, ok2 := want.(types.String)
	if !ok || !ok2 {
		return types.MaybeNoSuchOverloadErr(have)
	}
	if !slices.Contains(levels(), string(w)) {
		return types.NewErr("level.at_least: no level %q; levels are %s", string(w), strings.Join(levels(), ", "))
	}
	return types.Bool(signal.Level(h).Rank() >= signal.Level(w).Rank())
}

// levelEquals compares levels by rank, with the same regard for what is hidden.
func levelEquals(have, want ref.Val) ref.Val {
	h, ok := have.(types.String)
	w, ok2 := want.(types.String)
	if !ok || !ok2 {
		return types.MaybeNoSuchOverloadErr(have)
	}
	if !slices.Contains(levels(), string(w)) {
		return types.NewErr("level.equals: no level %q; levels are %s", string(w), strings.Join(levels(), ", "))
	}
	return types.Bool(signal.Level(h).Rank() == signal.Level(w).Rank())
}

func levels() []string {
	return []string{string(signal.LevelNone), string(signal.LevelLow), string(signal.LevelMedium), string(signal.LevelHigh)}
}

// families are the categories of the catalogue of detections.
func families() []string {
	var out []string
	for _, f := range detection.Families() {
		out = append(out, string(f.Family))
	}
	return out
}

// words are the closed sets a literal is checked against when the expression is
// loaded: comparing with a word that can never be there is a mistake.
func words(path string) []string {
	switch path {
	case "risk.level":
		return levels()
	case "risk.causes", "signal.cause":
		return texts(signal.Causes())
	case "signal.family":
		return families()
	case "steps.*.answer":
		return []string{string(question.Yes), string(question.No), ""}
	case "identity.kind":
		return texts([]identity.Kind{identity.KindUnknown, identity.KindPerson, identity.KindGuest, identity.KindWorkload, identity.KindComputer, identity.KindAgent})
	case "identity.authority", "tenant.connected", "account.provider":
		return texts([]identity.Provider{identity.EntraID, identity.ActiveDirectory, identity.Okta})
	}
	return nil
}

func texts[T ~string](in []T) []string {
	out := make([]string, len(in))
	for n, v := range in {
		out[n] = string(v)
	}
	return out
}

// A program is one compiled expression. It is safe for concurrent use.
type program struct {
	text string
	prg  cel.Program
	uses map[string]bool // the variables it names

	steps  []place  // the steps whose standing it asks
	types  []string // the kinds of signals it compares signal.type with
	titles []string // the titles it compares signal.title with
	groups []string // the groups it asks membership of
	proven []string // the questions whose answer must be borne out for it to hold
}

// A place is a word in an expression.
type place struct {
	line, column int // from 1, from 0
	word         string
}

// A mistake is one error in an expression, at a place within it.
type mistake struct {
	line, column int // from 1, from 0
	text         string
}

// compile checks text against the environment and its type. mistakes are all
// that was found; with any there is no program.
func (l *language) compile(text string, want *cel.Type) (*program, []mistake) {
	checked, issues := l.env.Compile(text)
	if issues.Err() != nil {
		var out []mistake
		for _, e := range issues.Errors() {
			out = append(out, mistake{e.Location.Line(), e.Location.Column(), l.explain(e.Message)})
		}
		return nil, out
	}
	if got := checked.OutputType(); !got.IsExactType(want) {
		return nil, []mistake{{1, 0, fmt.Sprintf("the expression gives %s, and %s is needed", cel.FormatCELType(got), cel.FormatCELType(want))}}
	}
	p := &program{text: text, uses: map[string]bool{}}
	out := p.inspect(checked)
	est, err := l.env.EstimateCost(checked, sizes{})
	switch {
	case err != nil:
		out = append(out, mistake{1, 0, "its cost cannot be estimated: " + err.Error()})
	case est.Max > maxEstimate:
		out = append(out, mistake{1, 0, fmt.Sprintf("it could cost %d with %d signals, over the limit of %d; avoid a loop within a loop", est.Max, estimatedSignals, maxEstimate)})
	}
	if len(out) > 0 {
		return nil, out
	}
	prg, err := l.env.Program(checked, cel.EvalOptions(cel.OptOptimize, cel.OptPartialEval), cel.CostLimit(maxEvaluation))
	if err != nil {
		return nil, []mistake{{1, 0, err.Error()}}
	}
	p.prg = prg
	return p, nil
}

// explain adds to CEL's message what the author may have meant.
func (l *language) explain(message string) string {
	message = strings.TrimSpace(strings.ReplaceAll(message, "\n", " "))
	_, name, ok := strings.Cut(message, "undefined field '")
	if ok {
		name, _, _ = strings.Cut(name, "'")
		var all []string
		for _, t := range []string{"Identity", "Risk", "Reason", "Signal", "Tenant", "Account", "Standing"} {
			fields, _ := l.env.CELTypeProvider().FindStructFieldNames("cordon." + t)
			all = append(all, fields...)
		}
		return fmt.Sprintf("no field %q%s", name, didYouMean(name, all))
	}
	if _, name, ok = strings.Cut(message, "undeclared reference to '"); ok {
		name, _, _ = strings.Cut(name, "'")
		return fmt.Sprintf("no variable or function %q%s", name, didYouMean(name, append([]string{"identity", "risk", "signal", "signals", "tenant", "steps", "level.at_least", "level.equals"}, l.more...)))
	}
	return message
}

// inspect notes the variables the expression names and checks its literals.
func (p *program) inspect(a *cel.Ast) []mistake {
	var out []mistake
	info := a.NativeRep().SourceInfo()
	check := func(e ast.Expr, path string) {
		set := words(path)
		v, ok := literal(e)
		if !ok || set == nil || slices.Contains(set, v) {
			return
		}
		at := info.GetStartLocation(e.ID())
		out = append(out, mistake{at.Line(), at.Column(), fmt.Sprintf("%s is never %q%s; it is one of %s", path, v, didYouMean(v, set), strings.Join(set, ", "))})
	}
	ast.PostOrderVisit(a.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			p.uses[e.AsIdent()] = true
		case ast.SelectKind:
			if sel := e.AsSelect(); sel.Operand().Kind() == ast.IdentKind && sel.Operand().AsIdent() == "steps" {
				at := info.GetStartLocation(e.ID())
				p.steps = append(p.steps, place{at.Line(), at.Column(), sel.FieldName()})
			}
		case ast.CallKind:
			call := e.AsCall()
			args := call.Args()
			switch call.FunctionName() {
			case operators.Equals, operators.NotEquals:
				check(args[0], pathOf(args[1]))
				check(args[1], pathOf(args[0]))
				if call.FunctionName() == operators.Equals {
					p.note(args[0], args[1])
				}
			case operators.Index:
				if word, ok := literal(args[1]); ok && pathOf(args[0]) == "identity.groups" {
					p.groups = append(p.groups, word)
					if !group.MatchString(word) {
						at := info.GetStartLocation(args[1].ID())
						out = append(out, mistake{at.Line(), at.Column(), fmt.Sprintf("%q is not the id of a group: an object id in lower case or a SID", clip(word))})
					}
				}
				if word, ok := literal(args[1]); ok && args[0].Kind() == ast.IdentKind && args[0].AsIdent() == "steps" {
					at := info.GetStartLocation(e.ID())
					p.steps = append(p.steps, place{at.Line(), at.Column(), word})
				}
			case operators.In:
				check(args[0], pathOf(args[1]))
				if args[1].Kind() == ast.ListKind {
					for _, el := range args[1].AsList().Elements() {
						check(el, pathOf(args[0]))
						p.note(args[0], el)
					}
				}
			case "level.at_least", "level.equals":
				check(args[1], "risk.level")
			}
		}
	}))
	p.proven = demanded(a.NativeRep().Expr())
	return out
}

// demanded returns the steps that must be proven for the expression to hold: those of
// its conjuncts that are steps.NAME.proven.
func demanded(e ast.Expr) []string {
	switch e.Kind() {
	case ast.CallKind:
		if c := e.AsCall(); c.FunctionName() == operators.LogicalAnd {
			var out []string
			for _, arg := range c.Args() {
				out = append(out, demanded(arg)...)
			}
			return out
		}
	case ast.SelectKind:
		if sel := e.AsSelect(); sel.FieldName() == "proven" && !sel.IsTestOnly() {
			if name := stepOf(sel.Operand()); name != "" {
				return []string{name}
			}
		}
	}
	return nil
}

// stepOf is the step whose standing e is: of steps.NAME or steps["NAME"].
func stepOf(e ast.Expr) string {
	switch e.Kind() {
	case ast.SelectKind:
		if sel := e.AsSelect(); sel.Operand().Kind() == ast.IdentKind && sel.Operand().AsIdent() == "steps" {
			return sel.FieldName()
		}
	case ast.CallKind:
		if c := e.AsCall(); c.FunctionName() == operators.Index && c.Args()[0].Kind() == ast.IdentKind && c.Args()[0].AsIdent() == "steps" {
			word, _ := literal(c.Args()[1])
			return word
		}
	}
	return ""
}

// note keeps which kinds of signals a comparison names.
func (p *program) note(path, value ast.Expr) {
	word, ok := literal(value)
	switch {
	case !ok:
	case pathOf(path) == "signal.type":
		p.types = append(p.types, word)
	case pathOf(path) == "signal.title":
		p.titles = append(p.titles, word)
	}
}

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

func pathOf(e ast.Expr) string {
	if e.Kind() == ast.SelectKind && stepOf(e.AsSelect().Operand()) != "" {
		return "steps.*." + e.AsSelect().FieldName()
	}
	if e.Kind() != ast.SelectKind || e.AsSelect().Operand().Kind() != ast.IdentKind {
		return ""
	}
	return e.AsSelect().Operand().AsIdent() + "." + e.AsSelect().FieldName()
}

// sizes tells CEL's estimator how large inputs are taken to be.
type sizes struct{}

// EstimateSize implements cost.Estimator.
func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	top := uint64(estimatedString)
	if n.Type().Kind() == types.ListKind {
		top = 50
		if path := n.Path(); len(path) == 1 && path[0] == "signals" {
			top = estimatedSignals
		}
	}
	return &cost.SizeEstimate{Min: 0, Max: top}
}

// EstimateCallCost implements cost.Estimator.
func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// eval returns the value, or an error with kind fault.Held that names every fact
// that is missing, or says what went wrong.
func (p *program) eval(f *facts) (ref.Val, error) {
	out, _, err := p.prg.Eval(f.act)
	if err != nil {
		return nil, fault.Errorf(fault.Held, "%q could not be evaluated: %s", p.text, oneLine(err.Error()))
	}
	u, unknown := out.(*types.Unknown)
	if !unknown {
		return out, nil
	}
	var why []string
	for _, id := range u.IDs() {
		trails, _ := u.GetAttributeTrails(id)
		for _, t := range trails {
			why = append(why, f.explain(t.String()))
		}
	}
	slices.Sort(why)
	return nil, fault.Errorf(fault.Held, "%s", cmp.Or(strings.Join(slices.Compact(why), "; "), "a fact is not known"))
}

// oneLine keeps an error's text short: it may quote what a source sent.
func oneLine(s string) string { return clip(strings.Join(strings.Fields(s), " ")) }

// explain says in words why a fact is not known.
func (f *facts) explain(path string) string {
	root, _, _ := strings.Cut(path, ".")
	if why, ok := f.missing[path]; ok {
		return fmt.Sprintf("%s is not known: %s", path, why)
	}
	if why, ok := f.missing[root]; ok {
		return fmt.Sprintf("%s is not known: %s", root, why)
	}
	return path + " is not known"
}

func (p *program) bool(f *facts) (bool, error) {
	v, err := p.eval(f)
	if err != nil {
		return false, err
	}
	b, ok := v.(types.Bool)
	if !ok {
		return false, fault.Errorf(fault.Held, "%q gave %s, not a boolean", p.text, v.Type().TypeName())
	}
	return bool(b), nil
}

func (p *program) string(f *facts) (string, error) {
	v, err := p.eval(f)
	if err != nil {
		return "", err
	}
	s, ok := v.(types.String)
	if !ok {
		return "", fault.Errorf(fault.Held, "%q gave %s, not a string", p.text, v.Type().TypeName())
	}
	return string(s), nil
}

// strings returns the list of texts that the expression gives, sorted, each once:
// the order of a source must not change a plan.
func (p *program) strings(f *facts) ([]string, error) {
	v, err := p.eval(f)
	if err != nil {
		return nil, err
	}
	native, err := v.ConvertToNative(reflect.TypeFor[[]string]())
	list, ok := native.([]string)
	if err != nil || !ok {
		return nil, fault.Errorf(fault.Held, "%q gave %s, not a list of texts", p.text, v.Type().TypeName())
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list), nil
}

// value returns what an input is to be: a text, a number or true or false.
func (p *program) value(f *facts) (any, error) {
	v, err := p.eval(f)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case types.String:
		if len(v) > maxInput {
			return nil, fault.Errorf(fault.Held, "%q gave %d bytes; at most %d", p.text, len(v), maxInput)
		}
		return string(v), nil
	case types.Int:
		if v > math.MaxInt32 || v < math.MinInt32 {
			return nil, fault.Errorf(fault.Held, "%q gave %d, which is too large", p.text, int64(v))
		}
		return int(v), nil
	case types.Bool:
		return bool(v), nil
	}
	return nil, fault.Errorf(fault.Held, "%q gave %s", p.text, v.Type().TypeName())
}

// maxInput bounds a text that is an action's input.
const maxInput = 1024

// constant returns the value the expression has whatever the facts are.
func (p *program) constant(l *language) (value, ok bool) {
	out, _, err := p.prg.Eval(l.env.UnknownVars())
	if err != nil {
		return false, false
	}
	b, ok := out.(types.Bool)
	return bool(b), ok
}
