package world

import "strings"

// Neutral first and last names from many places; every combination is made up.
var (
	givenNames = strings.Fields(`Ada Adam Agnes Aisha Alba Alex Alice Amara Amir Ana Anders Andrea Anika Anna Anton Aron Arthur Astrid
		Ben Bianca Bruno Carla Carlos Cecilia Chen Clara Dana Daniel Daria David Diego Dina Edith Elena Elias Elif Elin Emil Emma
		Erik Esther Eva Farid Felix Fiona Frida Gabriel Georg Greta Hana Hanna Hassan Helena Henrik Hugo Ida Ines Ingrid Irina Isaac
		Ivan Jakob Jana Jonas Julia Kamal Karin Karl Katja Kenji Klara Lara Lars Lea Leila Leo Lina Linus Louis Lucia Luka Magnus
		Maja Marco Maria Marta Mateo Mila Mina Miriam Nadia Nils Nina Nora Olga Oscar Otto Paula Pavel Petra Rafael Rania Robin
		Rosa Ruben Sami Samuel Sara Selma Sofia Stefan Tariq Tea Theo Tomas Uma Vera Viktor Wanda Yara Yuki Zoe`)
	surnames = strings.Fields(`Abel Adler Ahmadi Albrecht Almeida Andersen Arnold Bakker Baran Barth Basso Bauer Becker Berg Bianchi Blom
		Bodin Borg Brandt Braun Castro Chandra Conti Costa Dahl Danek Demir Dietz Dorn Duarte Ebert Eder Ekman Engel Ernst Falk Farkas
		Ferrari Fink Fischer Fontana Frank Freitas Fuchs Gallo Garcia Gerber Graf Greco Gruber Haas Hahn Halik Hansen Hartmann Haugen
		Heinz Heller Herrera Hoffmann Holm Horvat Huber Ibrahim Ivanov Jansen Jensen Johansen Jung Kaiser Keller Kern Khan Klein Koch
		Kovacs Kramer Kraus Krüger Kumar Lang Larsen Lehmann Lenz Lindgren Lopez Lorenz Lund Maier Mancini Marin Martens Mazur Meier
		Mendes Meyer Moretti Müller Nagy Navarro Neumann Nielsen Nilsson Noack Novak Olsen Orlov Otten Park Patel Paulsen Pereira Peters
		Popov Prinz Rahman Ramos Rasch Reed Reis Richter Rieger Riva Roth Ruiz Sahin Sand Santos Sauer Schmidt Schneider Schulz Seidel
		Silva Simon Singh Sommer Stark Stein Suzuki Tanaka Thoma Toth Tran Ulrich Urban Vance Vargas Vogel Voss Wagner Walter Weber
		Weiss Werner West Winter Wolf Yilmaz Young Zander Ziegler Zimmer`)
)

// A department has a share of the people and the titles they hold, the first
// of them the head's.
type department struct {
	name   string
	share  int
	titles []string
}

var departments = []department{
	{"Production", 26, []string{"Head of Production", "Shift Lead", "Technician", "Machine Operator", "Planner"}},
	{"Logistics", 12, []string{"Head of Logistics", "Dispatcher", "Warehouse Lead", "Driver"}},
	{"Sales", 14, []string{"Head of Sales", "Account Executive", "Sales Assistant", "Regional Lead"}},
	{"Customer Service", 10, []string{"Head of Customer Service", "Service Agent", "Team Lead"}},
	{"Engineering", 14, []string{"Head of Engineering", "Engineer", "Senior Engineer", "Architect"}},
	{"IT", 8, []string{"Head of IT", "Systems Engineer", "Service Desk Agent", "Network Engineer"}},
	{"Finance", 6, []string{"Head of Finance", "Accountant", "Controller", "Treasury Analyst"}},
	{"Human Resources", 4, []string{"Head of Human Resources", "Recruiter", "Payroll Specialist"}},
	{"Legal", 3, []string{"General Counsel", "Counsel", "Paralegal"}},
	{"Executive Board", 3, []string{"Chief Executive", "Assistant to the Board", "Strategy Analyst"}},
}

var offices = []string{"Hamburg", "Leipzig", "Vienna", "Rotterdam", "Gdansk", "Porto"}

var asciiOf = strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "ß", "ss", "Ä", "Ae", "Ö", "Oe", "Ü", "Ue")
