from etbac.cli.main import main

main()
