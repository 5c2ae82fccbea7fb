def write_card(folder, facts):
    pass
